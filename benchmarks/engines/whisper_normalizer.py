"""openai-whisper's text normalisers as a filter: JSON lines ``{"text", "language"}`` in, JSON strings out.

Runs in the environment of openai-whisper, so that scores use its own code: `EnglishTextNormalizer` for English and
`BasicTextNormalizer` for every other language.
"""

from __future__ import annotations

import json
import sys

from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer


def main() -> int:
    english, basic = EnglishTextNormalizer(), BasicTextNormalizer()
    for line in sys.stdin:
        request = json.loads(line)
        normalizer = english if request["language"] == "en" else basic
        print(json.dumps(normalizer(request["text"])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
