"""Audio ingress: any recording in, mono float32 at 16 kHz out, at bounded memory, from files that nobody vouches for.

    with open_audio("visit.m4a") as stream:
        for block in stream.blocks():    # float32, shape (n,), at most 30 s each
            ...

Containers and codecs are on allow-lists (`DEMUXERS`, `CODECS`); bytes reach the demuxer through one file object, and no
protocol is allowed, so that no file can make it open another one or an address. For wav and flac the samples equal
``librosa.load(path, sr=16000)``.

Codes of the `AudioError` that a recording may raise:

====================  =================================================================================================
audio_not_found       no such file
audio_is_folder       a folder
audio_not_file        a device or a socket
audio_permission      the file may not be read
audio_read            reading failed half-way, or there was no room for the temporary copy
audio_empty           no bytes, or a header without sound
audio_unsupported     not a kind of file, or a codec, on the allow-lists: text, a playlist, a picture, ...
audio_corrupt         the right kind of file, but it can't be opened, or nothing in it can be decoded
audio_no_stream       no sound in it, e.g. a silent film
audio_channel         the channel asked for is not there
audio_non_finite      NaN or infinite samples, or some beyond 1e15 times full scale
audio_limit           more channels, another sample rate, more sound or more bytes than `AudioLimits` allows
audio_array           an array whose shape, dtype or rate makes no sense
====================  =================================================================================================

What can be decoded of a damaged or truncated recording is decoded; `AudioStream.warnings` tells of the rest.
"""

from __future__ import annotations

from voxport.audio.limits import AUDIO_SUFFIXES, CODECS, DEMUXERS, AudioLimits
from voxport.audio.source import AudioInput, AudioSource, prepare_source
from voxport.audio.stream import BLOCK_SECONDS, AudioStream, load_audio, open_audio

__all__ = [
    "AUDIO_SUFFIXES",
    "BLOCK_SECONDS",
    "CODECS",
    "DEMUXERS",
    "AudioInput",
    "AudioLimits",
    "AudioSource",
    "AudioStream",
    "load_audio",
    "open_audio",
    "prepare_source",
]
