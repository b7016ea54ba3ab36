"""Keys and values of the tokens so far, of one decoder layer: one class for each way in which they lie in memory.

Shapes: B rows, n tokens at once, H heads, d a head's width, D = H x d, L the longest length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from voxport.models.cpu_products import StepLinear


class TokenCache(Protocol):
    """Filled position by position; all rows are at the same one."""

    def put(self, projection: StepLinear, h: Tensor, start: int) -> Tensor:
        """Project `h` (B, n, D), keep keys and values from position `start` on; returns the queries (B, H, n, d)."""
        ...

    def seen(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first positions: (rows, H, length, d) each, as views."""
        ...

    def move(self, row: int, source: int, length: int) -> None:
        """Let row `source` take the place of `row`, in the first `length` positions."""
        ...

    def gather(self, sources: Tensor, length: int) -> None:
        """Let row i become a copy of row ``sources[i]`` (int64), in the first `length` positions."""
        ...


class HeadsFirst(TokenCache):
    """(2, B, H, L, d): each head's keys follow each other, as a processor likes to read them."""

    def __init__(self, hidden: Tensor, rows: int, heads: int, length: int, dtype: torch.dtype) -> None:
        D = hidden.shape[-1]
        self._heads = heads
        # Zeros, since what is masked is multiplied by 0 and must not be NaN.
        self._kept = hidden.new_zeros(2, rows, heads, length, D // heads, dtype=dtype)

    def put(self, projection: StepLinear, h: Tensor, start: int) -> Tensor:
        B, n, _ = h.shape
        qkv = projection(h).view(B, n, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        self._kept[:, :B, :, start : start + n] = qkv[1:]
        return qkv[0]

    def seen(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        return self._kept[0, :rows, :, :length], self._kept[1, :rows, :, :length]

    def move(self, row: int, source: int, length: int) -> None:
        self._kept[:, row, :, :length] = self._kept[:, source, :, :length]

    def gather(self, sources: Tensor, length: int) -> None:
        self._kept[:, : len(sources), :, :length] = self._kept[:, :, :, :length].index_select(1, sources)


class PositionsFirst(TokenCache):
    """(L, B, 3, H, d): the projection writes a step's queries, keys and values where they stay, without a copy.

    For accelerators: one operation less to dispatch for each layer and step.
    """

    def __init__(self, hidden: Tensor, rows: int, heads: int, length: int, dtype: torch.dtype) -> None:
        D = hidden.shape[-1]
        self._kept = hidden.new_zeros(length, rows, 3, heads, D // heads, dtype=dtype)

    def put(self, projection: StepLinear, h: Tensor, start: int) -> Tensor:
        B, n, D = h.shape
        place = self._kept[start : start + n, :B]
        if n == 1:
            projection.into(place.view(B, 3 * D), h.view(B, D))
        else:  # the prompt: its rows lie the other way round
            place.copy_(projection(h).view(B, n, *place.shape[2:]).transpose(0, 1))
        return place[:, :, 0].permute(1, 2, 0, 3)

    def seen(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        kept = self._kept[:length, :rows]
        return kept[:, :, 1].permute(1, 2, 0, 3), kept[:, :, 2].permute(1, 2, 0, 3)

    def move(self, row: int, source: int, length: int) -> None:
        self._kept[:length, row] = self._kept[:length, source]

    def gather(self, sources: Tensor, length: int) -> None:
        self._kept[:length, : len(sources), 1:] = self._kept[:length, :, 1:].index_select(1, sources)
