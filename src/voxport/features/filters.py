"""Filter banks, applied in groups of neighbouring filters: each multiplies only the bins that it covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from voxport.types import FloatArray

__all__ = ["FilterBand", "group_filters"]


class FilterBand(NamedTuple):
    """Neighbouring filters.

    Attributes:
        bins: the frequency bins that they cover.
        filters: which of the bank they are.
        weights: float32, shape (bins, filters).
    """

    bins: slice
    filters: slice
    weights: FloatArray


def group_filters(bank: npt.NDArray[np.float64], groups: int) -> list[FilterBand]:
    """A filter bank, shape (bins, filters), in at most so many groups of neighbours."""
    count = bank.shape[1]
    bands = []
    for group in np.array_split(np.arange(count), min(groups, count)):
        chosen = slice(int(group[0]), int(group[-1]) + 1)
        used = np.flatnonzero(bank[:, chosen].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        bands.append(FilterBand(bins, chosen, np.ascontiguousarray(bank[bins, chosen], np.float32)))
    return bands
