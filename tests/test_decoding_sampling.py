"""Samples: drawn as often as they are likely, the same in every batch, other with another seed."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from told_decoder import BANNED, EOT, VOCABULARY, NoDoubles, ToldDecoder, bias, next_logprobs, table
from voxport.decoding.sampling import decode_samples, draws
from voxport.errors import DecodingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from voxport.decoding.candidates import Candidate


def draw(windows: Sequence[int], samples: int = 4, **options: object) -> list[list[Candidate]]:
    values: dict[str, object] = {"temperature": 0.8, "seed": 0, "max_tokens": 12}
    return decode_samples(
        ToldDecoder(windows),
        torch.zeros(len(windows), 1),
        NoDoubles(len(windows) * samples),
        samples=samples,
        bias=bias(),
        eot=EOT,
        **{**values, **options},  # type: ignore[arg-type]
    )


def test_tokens_come_as_often_as_they_are_likely() -> None:
    temperature, count = 0.7, 20_000
    (texts,) = draw([5], samples=count, temperature=temperature, max_tokens=1)
    found = Counter(text.tokens[0] if text.tokens else EOT for text in texts)
    shares = ((table(5, [], 0.5) + bias()) / temperature).softmax(-1).tolist()
    for token in range(VOCABULARY):
        deviation = (shares[token] * (1 - shares[token]) / count) ** 0.5
        assert abs(found[token] / count - shares[token]) <= 4 * deviation
    assert found[BANNED] == 0


@pytest.mark.parametrize("sync_interval", [1, 4, 20])
def test_a_window_says_the_same_in_every_batch(sync_interval: int) -> None:
    together = draw([4, 8, 15, 16], sync_interval=sync_interval)
    alone = [draw([window])[0] for window in (4, 8, 15, 16)]
    assert [[text.tokens for text in texts] for texts in together] == [[t.tokens for t in texts] for texts in alone]
    assert len({text.tokens for text in together[0]}) > 1, "the texts of a window differ"


def test_log_probabilities_are_those_at_temperature_1() -> None:
    for text in draw([23], temperature=0.4)[0]:
        said = (*text.tokens, EOT) if text.ended else text.tokens
        each = [next_logprobs(23, said[:place], 0.5)[token] for place, token in enumerate(said)]
        assert text.running == pytest.approx(list(accumulate(each)), abs=1e-4)


def test_the_seed_and_the_temperature_decide_what_is_drawn() -> None:
    def said(**options: object) -> list[tuple[int, ...]]:
        return [text.tokens for text in draw([42], samples=8, **options)[0]]

    assert said(seed=1) == said(seed=1)
    assert said(seed=1) != said(seed=2)
    assert draws(0, 0.2, 3, 2).tolist() != draws(0, 0.4, 3, 2).tolist()
    expected = np.random.Generator(np.random.PCG64([7, 200])).random((3, 2), dtype=np.float32)
    assert draws(7, 0.2, 3, 2).tolist() == expected.tolist()


def test_a_cold_sample_is_the_likeliest_text() -> None:
    (texts,) = draw([9], temperature=0.001)
    told: list[int] = []
    while len(told) < 12 and (logprobs := next_logprobs(9, told, 0.5)).index(max(logprobs)) != EOT:
        told.append(logprobs.index(max(logprobs)))
    assert {text.tokens for text in texts} == {tuple(told)}


class Broken(ToldDecoder):
    def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        return super().logits(hidden, bias) * float("nan")


def test_values_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(DecodingError, match="non-finite"):
        decode_samples(
            Broken([1]),
            torch.zeros(1, 1),
            NoDoubles(2),
            samples=2,
            temperature=0.5,
            seed=0,
            bias=bias(),
            eot=EOT,
            max_tokens=4,
        )
