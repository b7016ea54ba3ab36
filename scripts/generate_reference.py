"""Write the pages of docs/reference that follow from the code; with --check only say which are not current (exit 1)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reference_pages import cli, errors, metrics, policies, python

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
PAGES = {
    "cli.md": cli.page,
    "errors.md": errors.page,
    "metrics.md": metrics.page,
    "policies.md": policies.page,
    "python.md": python.page,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if a page is not current")
    check = parser.parse_args().check
    stale = 0
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            print(f"{name} is not current: run scripts/generate_reference.py", file=sys.stderr)
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
