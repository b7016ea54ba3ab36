"""Where a recording comes from: a path, standard input, bytes, a file object, an array. Opened as often as needed."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from voxport.audio.limits import AUDIO_SUFFIXES, AudioLimits
from voxport.audio.riff import boastful_tags
from voxport.errors import AudioError
from voxport.types import Audio, FloatArray

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AudioInput", "AudioSource", "SourceReader", "prepare_source"]

_SPOOL_CHUNK = 2**20
_SPOOL_IN_MEMORY = 2**24
_READ_ALLOWANCE = 64 * 2**20


class SourceReader:
    """The file object that the demuxer reads through: its own position, no way to any other file.

    Nothing is raised into the demuxer (an exception inside its callbacks would be printed or lost): what went wrong is
    kept in `failure` and read as the end of the file. The caller looks at `failure` after every call.

    Attributes:
        name: what the demuxer may know of the name: "recording" and the suffix.
        size: in bytes.
        failure: the exception that ended the reading, or None.
        references: addresses of other files that the demuxer wanted opened. It got empty ones.
    """

    def __init__(self, read_at: Callable[[int, int], bytes], size: int, suffix: str, limits: AudioLimits) -> None:
        self.name = f"recording{suffix}"
        self.size = size
        self.failure: BaseException | None = None
        self.references: list[str] = []
        self._read_at = read_at
        self._position = 0
        self._concealed: list[int] = []
        self._bytes_left = limits.read_factor * size + _READ_ALLOWANCE

    def conceal(self, offset: int) -> None:
        """Let the four bytes there read as JUNK, the name of a chunk that demuxers skip."""
        self._concealed.append(offset)

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes (all that are left if negative) from the position on; empty at the end."""
        try:
            if self.failure is not None:
                return b""
            wanted = self.size - self._position if count < 0 else count
            data = self._read_at(self._position, wanted) if wanted > 0 else b""
            for offset in self._concealed:
                data = _overlay(data, offset - self._position)
            self._position += len(data)
            self._bytes_left -= len(data)
            if self._bytes_left < 0:
                raise AudioError(
                    f"the file was read {self.size} bytes many times over without coming to an end",
                    hint="its index is damaged or forged; convert it with a player that can play it",
                    code="audio_corrupt",
                )
            return data
        except BaseException as failure:  # noqa: BLE001 - also Ctrl-C: raised again outside of the callback
            self.failure = failure
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the new position; -1, the demuxer's sign of failure, before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            return -1
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class AudioSource:
    """A recording that can be opened again and again. A context manager; `close` removes its temporary copy.

    Attributes:
        name: as given ("-" for standard input), None for bytes and arrays.
        array: float32, shape (n, channels), for a source that is an array; else None.
        sample_rate: of the array; else None.
    """

    def __init__(self, name: str | None, *, suffix: str = "", limits: AudioLimits | None = None) -> None:
        self.name = name
        self.array: FloatArray | None = None
        self.sample_rate: int | None = None
        self._limits = limits or AudioLimits()
        self._suffix = suffix.lower() if suffix.lower() in AUDIO_SUFFIXES else ""
        self._data: bytes | None = None
        self._file: IO[bytes] | None = None
        self._size = 0
        self._channel_count: int | None = None

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file and of the temporary copy. May be called twice."""
        if self._file is not None:
            self._file.close()
        self._file = self._data = self.array = None

    @property
    def channel_count(self) -> int:
        """How many channels there are. Raises AudioError where the recording can't be opened."""
        if self._channel_count is None:
            if self.array is not None:
                self._channel_count = int(self.array.shape[1])
            else:
                from voxport.audio.container import Container

                with Container(self, self._limits) as container:
                    self._channel_count = container.channel_count
        return self._channel_count

    def describe(self) -> str:
        """What to call this recording in a message."""
        if self.name is None:
            return "the recording"
        return "standard input" if self.name == "-" else self.name

    def reader(self) -> SourceReader:
        """A new reader at the start of the bytes."""
        reader = SourceReader(self._read_at, self._size, self._suffix, self._limits)
        for offset in boastful_tags(SourceReader(self._read_at, self._size, "", self._limits)):
            reader.conceal(offset)
        return reader

    def _read_at(self, offset: int, count: int) -> bytes:
        if self._data is not None:
            return self._data[offset : offset + count]
        if self._file is None:
            raise ValueError("this AudioSource is closed")
        return os.pread(self._file.fileno(), count, offset)

    def _take_bytes(self, data: bytes) -> AudioSource:
        self._data, self._size = data, len(data)
        return self._checked()

    def _take_file(self, file: IO[bytes]) -> AudioSource:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        return self._checked()

    def _take_array(self, samples: Any, sample_rate: Any) -> AudioSource:
        self.array, self.sample_rate = _as_float(samples), _as_rate(sample_rate)
        self._size = self.array.nbytes
        return self._checked()

    def _checked(self) -> AudioSource:
        if self._size == 0:
            self.close()
            raise AudioError(f"{self.describe()} is empty", hint="nothing was recorded", code="audio_empty")
        return self

    def _take_stream(self, stream: Any) -> AudioSource:
        """Copy a stream that can't seek: to memory if it is small, else to an unnamed temporary file."""
        memory = bytearray()
        file: IO[bytes] | None = None
        size = 0
        try:
            while chunk := _read_binary(stream, self.describe()):
                size += len(chunk)
                if size > self._limits.max_spool_bytes:
                    raise AudioError(
                        f"{self.describe()} goes on after {self._limits.max_spool_bytes} bytes",
                        hint="save it to a file first, or compress it (flac)",
                        code="audio_limit",
                    )
                if file is None and size > _SPOOL_IN_MEMORY:
                    file = cast("IO[bytes]", tempfile.TemporaryFile(prefix="voxport-"))  # noqa: SIM115 - outlives this
                    file.write(memory)
                    memory.clear()
                if file is None:
                    memory += chunk
                else:
                    file.write(chunk)
            if file is None:
                return self._take_bytes(bytes(memory))
            file.flush()
            return self._take_file(file)
        except OSError as error:
            if file is not None:
                file.close()
            raise AudioError(
                f"{self.describe()} could not be read or copied to {tempfile.gettempdir()}: {error.strerror or error}",
                hint="it needs room for the whole recording there; TMPDIR names another folder",
                code="audio_read",
            ) from error
        except BaseException:
            if file is not None:
                file.close()
            raise


AudioInput = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | tuple[npt.ArrayLike, int] | Audio | AudioSource
)
"""What `prepare_source` takes."""


def prepare_source(source: AudioInput, *, limits: AudioLimits | None = None) -> AudioSource:
    """Make a recording re-openable: standard input, pipes and file objects are copied once, from where they stand.

    Args:
        source: a path, "-", bytes, a binary file object, an `Audio`, or ``(samples, rate)`` with samples of shape (n,)
            or (n, channels). An `AudioSource` is returned as it is.

    Raises:
        AudioError: there is no such thing, or it is no recording; see `voxport.audio` for the codes.
        TypeError: `source` is nothing of the above.
    """
    if isinstance(source, AudioSource):
        return source
    if isinstance(source, Audio):
        return AudioSource(None, limits=limits)._take_array(source.samples, source.sample_rate)
    if isinstance(source, tuple) and len(source) == 2:
        return AudioSource(None, limits=limits)._take_array(*source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return AudioSource(None, limits=limits)._take_bytes(bytes(source))
    if isinstance(source, str) and source == "-":
        return AudioSource("-", limits=limits)._take_stream(sys.stdin.buffer)
    if isinstance(source, (str, os.PathLike)):
        return _from_path(os.fspath(source), limits)
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        name = name if isinstance(name, str) else None
        return AudioSource(name, suffix=Path(name or "").suffix, limits=limits)._take_stream(source)
    raise TypeError(
        "audio must be a path, '-', bytes, a binary file object, voxport.types.Audio or (samples, sample_rate), "
        f"not {type(source).__name__}"
    )


def _overlay(data: bytes, offset: int, text: bytes = b"JUNK") -> bytes:
    """`data` with `text` at `offset`, where the two overlap."""
    first, last = max(offset, 0), min(offset + len(text), len(data))
    return data if first >= last else data[:first] + text[first - offset : last - offset] + data[last:]


def _from_path(path: str | bytes, limits: AudioLimits | None) -> AudioSource:
    name = os.fsdecode(path)
    audio = AudioSource(name, suffix=Path(name).suffix, limits=limits)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - Path has no way to say that a name holds a zero byte
        if stat.S_ISDIR(mode):
            raise AudioError(f"{name} is a folder", hint="name the recordings in it", code="audio_is_folder")
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
            raise AudioError(
                f"{name} is a device or a socket, not a recording", hint="record to a file first", code="audio_not_file"
            )
        file = cast("BinaryIO", open(path, "rb"))  # noqa: SIM115, PTH123 - kept until close()
    except (OSError, ValueError) as error:
        raise _path_error(name, error) from error
    if stat.S_ISFIFO(mode):
        with file:
            return audio._take_stream(file)
    return audio._take_file(file)


def _path_error(name: str, error: OSError | ValueError) -> AudioError:
    if isinstance(error, PermissionError):
        return AudioError(f"{name} may not be read", hint="check its permissions", code="audio_permission")
    if isinstance(error, (FileNotFoundError, NotADirectoryError, ValueError)):
        hint = "check the spelling and the current folder"
        if "://" in name:
            hint = "addresses are not fetched: download the recording and name the file"
        return AudioError(f"{name!r} does not exist", hint=hint, code="audio_not_found")
    return AudioError(f"{name} can't be read: {error.strerror or error}", hint=None, code="audio_read")


def _read_binary(stream: Any, what: str) -> bytes:
    chunk = stream.read(_SPOOL_CHUNK)
    if isinstance(chunk, str):
        raise AudioError(
            f"{what} gives text", hint="open it in binary mode: open(path, 'rb')", code="audio_unsupported"
        )
    return bytes(chunk or b"")


def _as_float(samples: Any) -> FloatArray:
    """Float32 of shape (n, channels), full scale ±1; whole numbers are scaled by their type's range."""
    array: npt.NDArray[Any] = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise AudioError(f"the array has shape {array.shape}", hint="give (n,) or (n, channels)", code="audio_array")
    if array.ndim == 1:
        array = array[:, np.newaxis]
    elif array.size and array.shape[0] < array.shape[1]:
        raise AudioError(
            f"the array has shape {array.shape}: more channels than samples",
            hint="give (n, channels); transpose an array of (channels, n)",
            code="audio_array",
        )
    kind = array.dtype
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # a float64 beyond float32's range becomes inf, which is refused later
        if kind.kind == "f":
            return array.astype(np.float32, copy=False)
        if kind == np.uint8:
            return (array.astype(np.float32) - 128.0) / np.float32(128.0)
        if kind in (np.dtype(np.int8), np.dtype(np.int16), np.dtype(np.int32)):
            return array.astype(np.float32) / np.float32(2.0 ** (8 * kind.itemsize - 1))
    raise AudioError(
        f"an array of {kind} has no agreed full scale",
        hint="convert it to float32 within ±1, or to int16",
        code="audio_array",
    )


def _as_rate(sample_rate: Any) -> int:
    if isinstance(sample_rate, (int, np.integer, float, np.floating)) and not isinstance(sample_rate, bool):
        rate = float(sample_rate)
        if rate.is_integer() and rate > 0:
            return int(rate)
    raise AudioError(
        f"the sample rate {sample_rate!r} is not a positive whole number", hint="give it in Hz", code="audio_array"
    )
