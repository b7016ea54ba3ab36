"""What can go wrong, as a tree. Every error says what was wrong (the message) and what to do (the hint).

    VoxportError
    ├── UsageError            the call itself is off: an unknown option, a value out of range       exit 2
    │   └── UnsupportedOptionError    an option that this model family lacks
    ├── SetupError            the machine is off: a missing package, a device that is not there     exit 2
    │   ├── DeviceError               a device that is not there, can't be used, or has no memory left
    │   └── MissingDependencyError    a package that is not installed, or too old
    ├── ModelError            the model can't be had or can't be read                               exit 2
    │   ├── ModelNotFoundError        no such name, or none of the sources has it
    │   ├── ModelFormatError          files that are damaged, incomplete or of an unknown kind
    │   ├── GatedModelError           terms to accept first
    │   ├── DownloadError             the network said no, or stopped half-way
    │   │   └── DigestError           bytes that are not what they should be
    │   └── OfflineError              needs the network, and --offline forbids it
    ├── AudioError            one recording can't be read; others go on                             exit 1
    ├── DecodingError         the model's output can't be trusted (non-finite values)               exit 1
    └── OutputError           results can't be written: permission, disk full                       exit 1

`code` is a stable word for scripts; it stands in the JSON of a failed input.
"""

from __future__ import annotations

from typing import ClassVar


class VoxportError(Exception):
    """Base of every error that voxport raises on purpose.

    Attributes:
        message: what was wrong, with the value that was met.
        hint: what to do about it, or None.
        code: a stable identifier, e.g. ``"model_not_found"``.
        exit_code: what the command line exits with: 1 = some inputs failed, 2 = usage or environment.
    """

    default_code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    def to_dict(self) -> dict[str, str | None]:
        """The `error` object of the JSON output: ``{code, message, hint}``."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(VoxportError):
    default_code = "usage"


class UnsupportedOptionError(UsageError):
    default_code = "unsupported_option"


class SetupError(VoxportError):
    default_code = "setup"


class DeviceError(SetupError):
    default_code = "device_unavailable"


class MissingDependencyError(SetupError):
    default_code = "missing_dependency"


class ModelError(VoxportError):
    default_code = "model"


class ModelNotFoundError(ModelError):
    default_code = "model_not_found"


class ModelFormatError(ModelError):
    default_code = "model_format"


class GatedModelError(ModelError):
    default_code = "model_gated"


class DownloadError(ModelError):
    default_code = "download_failed"


class DigestError(DownloadError):
    default_code = "digest_mismatch"


class OfflineError(ModelError):
    default_code = "offline"


class AudioError(VoxportError):
    """One recording can't be read. `code` is one of the ``audio_*`` words listed in `voxport.audio`."""

    default_code = "audio"
    exit_code = 1


class DecodingError(VoxportError):
    default_code = "decoding"
    exit_code = 1


class OutputError(VoxportError):
    default_code = "output"
    exit_code = 1
