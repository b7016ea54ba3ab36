"""Sounds that are no speech, made with a seed: noise of several colours, hum, clicks, ringing, silence with a hiss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recordings import SAMPLE_RATE, Recording

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

SECONDS = 20.0
KIND = "nonspeech-made"


def sounds(seed: int = 0, seconds: float = SECONDS) -> dict[str, np.ndarray]:
    """Name -> float32 samples at 16 kHz, shape (n,), within [-1, 1]; the same ones for the same seed."""
    import numpy as np

    generator = np.random.default_rng(seed)
    n = round(seconds * SAMPLE_RATE)
    time = np.arange(n) / SAMPLE_RATE
    found = {}
    for name, power in (("white", 0.0), ("pink", 0.5), ("brown", 1.0)):
        spectrum = np.fft.rfft(generator.standard_normal(n))
        shaped = spectrum / np.maximum(np.arange(len(spectrum)), 1.0) ** power
        found[f"{name}-noise"] = level(np.fft.irfft(shaped, n), -30.0)
    found["hiss"] = level(generator.standard_normal(n), -65.0)
    hum = sum(np.sin(2 * np.pi * 50 * harmonic * time) / harmonic for harmonic in range(1, 9))
    found["hum"] = level(hum + 0.05 * generator.standard_normal(n), -35.0)
    ring = (np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 480 * time)) * (time % 6.0 < 2.0)
    found["ringing"] = level(ring, -20.0)
    clicks = np.zeros(n)
    for begin in generator.integers(0, n - 800, size=round(3 * seconds)):
        clicks[begin : begin + 800] += generator.standard_normal(800) * np.exp(-np.arange(800) / 120)
    found["clicks"] = level(clicks, -30.0)
    swell = np.abs(np.sin(2 * np.pi * 2.5 * time)) ** 3  # about as fast as syllables
    found["syllabic-noise"] = level(np.convolve(generator.standard_normal(n), np.ones(8) / 8, "same") * swell, -25.0)
    return found


def level(samples: np.ndarray, decibels: float) -> np.ndarray:
    """float32 samples of that root mean square, in dB below full scale, clipped to [-1, 1]."""
    import numpy as np

    scaled = samples / np.sqrt(np.mean(np.square(samples))) * 10 ** (decibels / 20)
    clipped: np.ndarray = np.clip(scaled, -1.0, 1.0).astype(np.float32)
    return clipped


def write(folder: Path, seed: int = 0) -> list[Recording]:
    """All `sounds` as 16-bit FLAC in `folder`."""
    import soundfile

    recordings = []
    for name, samples in sounds(seed).items():
        file = folder / f"{name}.flac"
        soundfile.write(file, samples, SAMPLE_RATE, subtype="PCM_16")
        recordings.append(Recording(name, file, "", "", KIND, "", len(samples) / SAMPLE_RATE))
    return recordings
