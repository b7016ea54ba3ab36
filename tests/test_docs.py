"""The documentation holds together: pages that follow from the code are current, links lead somewhere, and a page and
its Chinese counterpart give the same commands and figures."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = REPOSITORY / "scripts/generate_reference.py"
TRANSLATED = ["README.md", "docs/guides/ascend-acceptance.md"]
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for place in (".", "docs", "docker", "benchmarks", "src")
    for path in (REPOSITORY.glob("*.md") if place == "." else (REPOSITORY / place).rglob("*.md"))
)


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------- what follows from the code


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("generate_reference")


def test_the_reference_pages_are_current() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_that_is_not_current_is_named_and_then_written(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "FOLDER", tmp_path)
    monkeypatch.setattr(generator, "PAGES", {"errors.md": generator.errors.page, "new.md": lambda: "new\n"})
    (tmp_path / "errors.md").write_text(generator.errors.page() + "more\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["generate_reference.py", "--check"])
    assert generator.main() == 1
    assert re.findall(r"(?m)^(\w+\.md) is not current", capsys.readouterr().err) == ["errors.md", "new.md"]
    assert not (tmp_path / "new.md").exists()
    monkeypatch.setattr(sys, "argv", ["generate_reference.py"])
    assert generator.main() == 0
    assert (tmp_path / "new.md").read_text(encoding="utf-8") == "new\n"
    assert (tmp_path / "errors.md").read_text(encoding="utf-8") == generator.errors.page()


def test_every_public_name_policy_metric_and_error_has_its_place(generator: ModuleType) -> None:
    import voxport
    from voxport import errors
    from voxport.metrics import DEFINITIONS
    from voxport.verify.policies import POLICIES

    page = generator.python.page()
    assert [name for name in voxport.__all__ if f"`voxport.{name}`" not in page] == []
    page = generator.policies.page()
    assert [name for name in POLICIES if f"\n## `{name}`\n" not in page] == []
    page = generator.metrics.page()
    assert [name for name in DEFINITIONS if f"\n| `{name}` | " not in page] == []
    page = generator.errors.page()
    for kind in vars(errors).values():
        if isinstance(kind, type):
            assert re.search(rf"(?m)^\| `{kind.__name__}` \| .* `{kind.default_code}` \| {kind.exit_code} \| \S", page)


# ---------------------------------------------------------------------------------------------------------------- links


def anchors(page: str) -> set[str]:
    """The fragments of a page's headings, as GitHub and its kin make them."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"(?m)^#{1,6} +(.*)$", re.sub(r"(?ms)^```.*?^```", "", read(page))):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        names.add(name if name not in found else f"{name}-{found[name]}")
        found[name] = found.get(name, 0) + 1
    return names


def links(page: str) -> list[str]:
    """What is linked to in the repository."""
    text = re.sub(r"(?ms)^ *```.*?^ *```", "", read(page))
    text = re.sub(r"`[^`\n]*`", "", text)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert target.exists(), link
        if fragment and target.suffix == ".md":
            assert fragment in anchors(target.resolve().relative_to(REPOSITORY).as_posix()), link


def test_the_index_names_every_page() -> None:
    listed = {link.partition("#")[0] for link in links("docs/README.md")}
    there = {
        path.relative_to(REPOSITORY / "docs").as_posix()
        for path in (REPOSITORY / "docs").rglob("*.md")
        if path.name != "README.md"
    }
    assert there <= listed


# ----------------------------------------------------------------------------------------------------- in two languages


def code_blocks(page: str) -> list[str]:
    """Without what `#` says to people, which is translated."""
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", read(page))
    return [re.sub(r"(?m)(^|\s+)#\s.*$", "", block).rstrip() for block in blocks]


def tables(page: str) -> list[list[list[str]]]:
    """Of each table, of each row, of each cell the numbers, sorted: words come in another order in another language."""
    found: list[list[list[str]]] = [[]]
    for line in re.sub(r"(?ms)^```.*?^```", "", read(page)).splitlines():
        if line.startswith("|"):
            found[-1].append([" ".join(sorted(NUMBER.findall(cell))) for cell in line.strip("|").split(" | ")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translation_has_the_same_commands_figures_and_sections(page: str) -> None:
    other = page.replace(".md", ".zh.md")
    assert code_blocks(page)
    assert code_blocks(other) == code_blocks(page)
    assert tables(other) == tables(page)
    fractions = [sorted(re.findall(r"\d+\.\d+", re.sub(r"(?ms)^```.*?^```", "", read(one)))) for one in (page, other)]
    assert fractions[0] == fractions[1]
    levels = [re.findall(r"(?m)^(#+) ", re.sub(r"(?ms)^```.*?^```", "", read(one))) for one in (page, other)]
    assert levels[0] == levels[1]
    targets = [{link.replace(".zh.md", ".md").partition("#")[0] for link in links(one)} for one in (page, other)]
    assert targets[0] == targets[1]


@pytest.mark.parametrize("page", TRANSLATED)
def test_a_translation_and_its_original_lead_to_each_other(page: str) -> None:
    other = page.replace(".md", ".zh.md")
    assert f"]({Path(other).name})" in "\n".join(read(page).splitlines()[:4])
    assert f"]({Path(page).name})" in "\n".join(read(other).splitlines()[:4])


# ------------------------------------------------------------------------------------------------------- commands shown


def commands(page: str) -> Iterator[tuple[str, bool]]:
    """Commands of voxport's, each in one line, and whether it is a whole one: in the text it may be named only."""
    text = read(page)
    for language, block in re.findall(r"(?ms)^```(\w*)\n(.*?)^```", text):
        if language in ("", "sh", "console"):
            yield from ((line, True) for line in re.sub(r"\\\n\s*", " ", block).splitlines())
    outside = re.sub(r"(?ms)^```.*?^```", "", text)
    yield from ((code, False) for code in re.findall(r"`([^`\n]+)`", outside))


def refusal(line: str, *, whole: bool) -> str | None:
    """What the command line says against it; None for what is no command of voxport's."""
    from voxport.cli import build_parser
    from voxport.errors import UsageError

    match = re.match(r"(?:\w*\$ +)?(?:[A-Z_]+=\S+ )*(?:(?:curl|ffmpeg) [^|]*\| )?voxport (.*)", line.strip())
    if match is None:
        return None
    words = shlex.split(re.split(r"\s+#\s|\s[|>]\s|\s\.\.\.", match[1])[0])
    if words in (["--help"], ["--version"]):
        return None
    try:
        build_parser().parse_args(words)
    except UsageError as error:
        return None if not whole and error.message.endswith("is missing") else error.message
    return None


def test_a_command_that_is_not_taken_is_noticed() -> None:
    assert refusal("$ voxport transcribe --no_such_option a.wav", whole=True) == "unknown option '--no_such_option'"
    assert refusal("A=b voxport verify --candidate", whole=False) is not None
    assert refusal("voxport models pull", whole=True) == "NAME is missing"
    assert refusal("voxport models pull", whole=False) is None
    assert refusal("pip install voxport --no_such_option", whole=True) is None


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith(("docs/reference", "CHANGELOG"))])
def test_commands_are_ones_that_the_command_line_takes(page: str) -> None:
    said = {line: refusal(line, whole=whole) for line, whole in commands(page)}
    assert {line: message for line, message in said.items() if message} == {}
