"""The sound in a report's page: each window's own, in a form that browsers play."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from lasr_folders import noise
from voxport.audio import load_audio
from voxport.errors import UsageError
from voxport.report.recorded_audio import recorded_audio

if TYPE_CHECKING:
    from pathlib import Path


def test_embedded_sound_is_the_windows(tmp_path: Path) -> None:
    samples = noise(3.0, 1).samples
    smooth = np.convolve(samples, np.ones(9) / 9, "same").astype(np.float32)  # MP3 at 48 kbit/s is for speech
    names = []
    for folder in ("one", "two", "short"):
        (tmp_path / folder).mkdir()
        names.append(str(tmp_path / folder / "same.wav"))
        soundfile.write(names[-1], smooth if folder != "two" else smooth[::-1], 16_000, subtype="FLOAT")
    windows = [
        {"file": "same.wav", "start": 0.0, "seconds": 2.0},
        {"file": "same.wav", "start": 2.0, "seconds": 1.0},
        {"file": "same.wav", "start": 0.0, "seconds": 2.0},
    ]
    found = recorded_audio(windows, names)
    pieces = (smooth[:32_000], smooth[32_000:48_000], smooth[::-1][:32_000])
    for one, expected in zip(found, pieces, strict=True):
        assert one.mime == "audio/mpeg"
        assert len(one.data) < 7_000 * len(expected) / 16_000 + 2_000
        heard = load_audio(one.data).samples[: len(expected)]
        assert np.corrcoef(heard, expected[: len(heard)])[0, 1] > 0.95
    with pytest.raises(UsageError, match=r"other\.wav is not among the recordings"):
        recorded_audio([*windows, {"file": "other.wav", "start": 0.0, "seconds": 1.0}], names)


def test_sound_is_wav_where_mp3_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import av

    recording = str(tmp_path / "a.wav")
    soundfile.write(recording, noise(1.4, 0).samples, 16_000, subtype="FLOAT")

    def unknown(name: str, mode: str) -> None:
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av, "Codec", unknown)
    (one,) = recorded_audio([{"file": "a.wav", "start": 0.0, "seconds": 1.4}], [recording])
    monkeypatch.undo()
    assert one.uri.startswith("data:audio/wav;base64,UklGR")
    samples = load_audio(recording).samples
    assert np.abs(load_audio(one.data).samples - np.clip(samples, -1, 1)).max() < 1e-4
