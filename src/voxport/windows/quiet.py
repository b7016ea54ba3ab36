"""Where to cut when nobody has looked for pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from voxport.types import FloatArray


def quietest_cut(samples: FloatArray, sample_rate: int, earliest: float, latest: float) -> float:
    """The middle of the quietest 0.2 s between `earliest` and `latest` (seconds), for cutting without a VAD.

    Args:
        samples: float32 (n,), at least `latest` seconds of them.
        sample_rate: Hz.
    """
    width, hop = int(0.2 * sample_rate), int(0.02 * sample_rate)
    stretch = samples[int(earliest * sample_rate) : int(latest * sample_rate)].astype(np.float64)
    power = np.concatenate([[0.0], np.cumsum(stretch**2)])
    starts = np.arange(0, len(stretch) - width + 1, hop)
    quietest = starts[int(np.argmin(power[starts + width] - power[starts]))]
    return earliest + float(quietest + width / 2) / sample_rate
