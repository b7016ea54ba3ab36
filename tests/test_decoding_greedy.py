"""The greedy loop: ends, limits, dropped rows, and values that can't be trusted. On a decoder made of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from voxport.decoding.greedy import decode_greedy
from voxport.errors import DecodingError

if TYPE_CHECKING:
    from collections.abc import Sequence

EOT = 9


class Script:
    """A decoder that says what is written for each row; it checks that it is fed what it said."""

    def __init__(self, scripts: Sequence[Sequence[int]]) -> None:
        self.scripts = [list(script) for script in scripts]
        self.rows = len(scripts)
        self.step = 0
        self.fed: list[list[int]] = []

    def advance(self, tokens: Tensor) -> Tensor:
        assert tokens.shape == (self.rows, 1)
        self.fed.append(tokens[:, 0].tolist())
        self.step += 1
        return torch.zeros(self.rows, 1, 1)

    def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
        logits = torch.full((self.rows, EOT + 1), -5.0)
        for row, script in enumerate(self.scripts[: self.rows]):
            logits[row, script[self.step] if self.step < len(script) else EOT] = 5.0
        return logits

    def drop_row(self, row: int) -> None:
        self.rows -= 1
        self.scripts[row] = self.scripts[self.rows]


class Free:
    """No rules."""

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        logprobs, tokens = logits.log_softmax(-1).max(-1)
        return tokens, logprobs

    def logprobs(self, scores: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(scores))

    def drop_row(self, row: int, last: int) -> None:
        pass


def run(scripts: Sequence[Sequence[int]], **options: object) -> tuple[list[list[int]], list[bool], Script]:
    script = Script(scripts)
    values: dict[str, object] = {"bias": torch.zeros(EOT + 1), "eot": EOT, "max_tokens": 12}
    rows = decode_greedy(script, torch.zeros(len(scripts), 1), Free(), **{**values, **options})  # type: ignore[arg-type]
    for row in rows:
        assert len(row.logprobs) == len(row.tokens) + row.ended
    return [row.tokens for row in rows], [row.ended for row in rows], script


SCRIPTS = [[1, 2, 3, EOT], [EOT], [4, EOT], [5, 6, 7, 8, 1, 2, EOT], [4, EOT]]


@pytest.mark.parametrize("sync_interval", [1, 2, 3, 5, 50])
def test_rows_end_on_their_own_and_keep_their_order(sync_interval: int) -> None:
    tokens, ended, _ = run(SCRIPTS, sync_interval=sync_interval)
    assert tokens == [[1, 2, 3], [], [4], [5, 6, 7, 8, 1, 2], [4]]
    assert ended == [True] * 5


def test_rows_that_ended_are_not_fed_again() -> None:
    _, _, script = run(SCRIPTS)
    assert [len(fed) for fed in script.fed] == [4, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("sync_interval", [1, 4, 5])
def test_the_limit_is_a_limit(sync_interval: int) -> None:
    tokens, ended, script = run([[1] * 50, [2, 3, EOT]], max_tokens=5, sync_interval=sync_interval)
    assert tokens == [[1] * 5, [2, 3]]
    assert ended == [False, True]
    assert script.step == 4


def test_a_row_can_be_stopped() -> None:
    script = Script([[1] * 50, [2, 3, EOT]])
    rows = decode_greedy(
        script,
        torch.zeros(2, 1),
        Free(),
        bias=torch.zeros(EOT + 1),
        eot=EOT,
        max_tokens=40,
        should_stop=lambda tokens: tokens == [1] * 7,
    )
    assert [row.tokens for row in rows] == [[1] * 7, [2, 3]]
    assert [row.stopped for row in rows] == [True, False]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_logits_are_an_error_not_text(value: float) -> None:
    class Broken(Script):
        def logits(self, hidden: Tensor, bias: Tensor | None = None) -> Tensor:
            logits = super().logits(hidden, bias)
            logits[0, 1] = value
            return logits

    with pytest.raises(DecodingError, match="non-finite") as raised:
        decode_greedy(
            Broken([[1, 2, EOT]]), torch.zeros(1, 1), Free(), bias=torch.zeros(EOT + 1), eot=EOT, max_tokens=5
        )
    assert raised.value.code == "non_finite"
    assert "float32" in str(raised.value.hint)
