"""Keys and values of the tokens so far: both ways in which they lie in memory hold the same."""

from __future__ import annotations

import torch

from voxport.models.cpu_products import StepLinear
from voxport.models.whisper.token_cache import HeadsFirst, PositionsFirst

ROWS, HEADS, SIZE, LENGTH = 3, 2, 4, 7
WIDTH = HEADS * SIZE


def test_both_layouts_hold_the_same() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    with torch.inference_mode():
        projection = StepLinear(draw(3 * WIDTH, WIDTH), draw(3 * WIDTH))
        hidden = draw(ROWS, 5, WIDTH)
        caches = [kind(hidden, ROWS, HEADS, LENGTH, torch.float32) for kind in (HeadsFirst, PositionsFirst)]
        rows, end = ROWS, 0
        for count in (3, 1, 1, 1):  # a prompt, then single tokens; a row ends in between
            h = draw(rows, count, WIDTH)
            q, k, v = torch.nn.functional.linear(h, projection.weight, projection._bias).chunk(3, -1)
            for cache in caches:
                queries = cache.put(projection, h, end)
                torch.testing.assert_close(queries, q.view(rows, count, HEADS, SIZE).transpose(1, 2))
            end += count
            for cache in caches:
                for found, new in zip(cache.seen(rows, end), (k, v), strict=True):
                    assert found.shape == (rows, HEADS, end, SIZE)
                    expected = new.view(rows, count, HEADS, SIZE).transpose(1, 2)
                    torch.testing.assert_close(found[:, :, -count:], expected)
            for left, right in zip(*(cache.seen(rows, LENGTH) for cache in caches), strict=True):
                torch.testing.assert_close(left, right)
                assert not left[:, :, end:].any(), "what is not filled is zero, since masks multiply it by zero"
            if end == 4:
                last = [x[2].clone() for x in caches[0].seen(rows, end)]
                for cache in caches:
                    cache.move(0, 2, end)
                    for found, kept in zip(cache.seen(rows, end), last, strict=True):
                        torch.testing.assert_close(found[0], kept)
                rows = 2
