"""Opening a container behind the allow-lists and choosing its sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxport.audio.isobmff import check_index
from voxport.audio.lengths import Promise, promised_length
from voxport.audio.limits import CODECS, DEMUXERS, AudioLimits
from voxport.audio.signature import kind_of
from voxport.errors import AudioError, MissingDependencyError

if TYPE_CHECKING:
    from voxport.audio.source import AudioSource, SourceReader

__all__ = ["Container"]

_BUFFER = 2**16


class Container:
    """One opened recording with its (best) audio stream. A context manager.

    Attributes:
        what: what to call the recording in a message.
        limits: what to refuse.
        file: PyAV's container.
        stream: PyAV's audio stream.
        channel_count, sample_rate: as the stream says at its start.
        duration: in seconds, as the container says; None if it does not, or if its writer could not know.
        duration_is_exact: so that a recording that is shorter was cut off.
        warnings: what looks wrong, in words for people; the decoder adds to it.
    """

    def __init__(self, source: AudioSource, limits: AudioLimits) -> None:
        self.what = source.describe()
        self.limits = limits
        self._reader = source.reader()
        self._head = self._reader.read(4096)
        self._reader.seek(0)
        check_index(source.reader(), self.what)
        self.warnings: list[str] = []
        self.file = self._open()
        try:
            self.stream = self._choose_stream()
            self.channel_count, self.sample_rate = self._layout()
            promise = self._promised_duration(source.reader())
            self.duration, self.duration_is_exact = promise.seconds, promise.is_exact
            if promise.remark:
                self.warnings.append(promise.remark)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()

    def _open(self) -> Any:
        try:
            import av
        except ImportError as error:
            raise MissingDependencyError(
                f"PyAV can't be loaded: {error}", hint="install it: pip install 'av>=17.1'"
            ) from error
        try:
            container = av.open(
                self._reader,
                "r",
                options={"max_samples": str(self.limits.max_frame_samples)},
                container_options={
                    "format_whitelist": ",".join(DEMUXERS),
                    "codec_whitelist": ",".join(CODECS),
                    "protocol_whitelist": "none",  # nothing is opened by address: bytes come through the reader only
                    "max_streams": "64",
                },
                metadata_errors="replace",
                buffer_size=_BUFFER,
                io_open=self._refuse_reference,
            )
        except (av.error.FFmpegError, ValueError, UnicodeError, MemoryError) as error:
            raise self._open_error(error) from error
        self.raise_failure()
        return container

    def _refuse_reference(self, url: str, flags: int, options: dict[str, str]) -> Any:
        """What the demuxer gets that wants another file: an empty one. That it asked becomes an error."""
        import io

        self._reader.references.append(url)
        return io.BytesIO()

    def _open_error(self, error: Exception) -> AudioError:
        self.raise_failure()
        known, kind = kind_of(self._head)
        if not known:
            return AudioError(
                f"{self.what} is {kind}, which voxport does not open",
                hint="give a recording: wav, flac, mp3, m4a, ogg, opus, webm, mp4 and the like",
                code="audio_unsupported",
            )
        return AudioError(
            f"{self.what} looks like {kind}, but it can't be opened: {_reason(error)}",
            hint="it is damaged or incomplete; copy or download it again",
            code="audio_corrupt",
        )

    def _reference_error(self) -> AudioError:
        return AudioError(
            f"{self.what} refers to another file or address ({self._reader.references[0]!r}), which is not opened",
            hint="give the recording itself",
            code="audio_unsupported",
        )

    def raise_failure(self) -> None:
        """Raise what went wrong inside the demuxer's callbacks."""
        failure = self._reader.failure
        if isinstance(failure, OSError):
            raise AudioError(
                f"{self.what} could not be read to its end: {failure.strerror or failure}", code="audio_read"
            ) from failure
        if failure is not None:
            raise failure
        if self._reader.references:
            raise self._reference_error()

    def _choose_stream(self) -> Any:
        import av

        streams = self.file.streams
        count = len(streams.audio)
        if count == 0:
            kinds = ", ".join(sorted({stream.type for stream in streams})) or "nothing"
            raise AudioError(
                f"{self.what} has no sound ({self.file.format.name}: {kinds})",
                hint="check that this is the right file",
                code="audio_no_stream",
            )
        stream = streams.best("audio") or streams.audio[0]
        if count > 1:
            number = streams.audio.index(stream) + 1
            self.warnings.append(f"of {count} audio streams, number {number} is read")
        context = stream.codec_context
        if context is None or context.codec.name not in CODECS:
            name = "an unknown codec" if context is None else f"the codec {context.codec.name}"
            raise AudioError(
                f"{self.what} has its sound in {name}, which voxport does not decode",
                hint="convert it, e.g. to flac",
                code="audio_unsupported",
            )
        context.thread_count = 1
        context.options = {"max_samples": str(self.limits.max_frame_samples)}
        if context.codec.name == "flac":  # its frames carry a checksum: a damaged one is left out instead of crackling
            context.options = {**context.options, "err_detect": "crccheck+explode"}
        for other in streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        return stream

    def _layout(self) -> tuple[int, int]:
        context = self.stream.codec_context
        try:
            channels, rate = int(context.channels), int(context.sample_rate)
        except (ValueError, OverflowError) as error:  # a channel layout that PyAV can't name
            raise AudioError(
                f"{self.what} has a channel layout that can't be read: {error}", code="audio_corrupt"
            ) from error
        self.check_layout(channels, rate)
        return channels, rate

    def check_layout(self, channels: int, rate: int) -> None:
        """Raise AudioError where a channel count or a rate is beyond the limits."""
        limits = self.limits
        if not 1 <= channels <= limits.max_channels:
            raise AudioError(
                f"{self.what} claims {channels} channels; 1 to {limits.max_channels} are taken",
                hint="its header may be forged or damaged",
                code="audio_limit",
            )
        if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
            raise AudioError(
                f"{self.what} claims a sample rate of {rate} Hz; "
                f"{limits.min_sample_rate} to {limits.max_sample_rate} are taken",
                hint="its header may be forged or damaged; AudioLimits sets the range",
                code="audio_limit",
            )

    def _promised_duration(self, reader: SourceReader) -> Promise:
        stream, container = self.stream, self.file
        seconds: float | None = None
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration:
            seconds = container.duration / 1_000_000
        return promised_length(
            reader,
            container.format.name,
            seconds=seconds,
            byte_rate=(stream.codec_context.bit_rate or 0) / 8,
            has_picture=bool(container.streams.video),
        )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
