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

    def logits(self, hidden: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        logits = torch.full((self.rows, EOT + 1), -5.0)
        for row, script in enumerate(self.scripts[: self.rows]):
            logits[row, script[self.step] if self.step < len(script) else EOT] = 5.0
        return logits

    def drop_row(self, row: int) -> None:
        self.rows -= 1
        self.scripts[row] = self.scripts[self.rows]


class Scores:
    """The tokens and log probabilities of some steps."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.chosen: list[Tensor] = []
        self.logprobs: list[Tensor] = []

    @property
    def tokens(self) -> Tensor:
        assert len(self.chosen) == self.count
        return torch.stack(self.chosen)

    def room(self, index: int) -> None:
        assert index == len(self.chosen)


class Free:
    """No rules."""

    def begin(self, count: int) -> Scores:
        return Scores(count)

    def choose(self, logits: Tensor, steps: Scores, index: int) -> Tensor:
        logprobs, tokens = logits.log_softmax(-1).max(-1)
        steps.chosen.append(tokens)
        steps.logprobs.append(logprobs)
        return tokens

    def logprobs(self, steps: Scores) -> Tensor:
        return torch.stack(steps.logprobs)

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
        def logits(self, hidden: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
            logits = super().logits(hidden, bias, out)
            logits[0, 1] = value
            return logits

    with pytest.raises(DecodingError, match="non-finite") as raised:
        decode_greedy(
            Broken([[1, 2, EOT]]), torch.zeros(1, 1), Free(), bias=torch.zeros(EOT + 1), eot=EOT, max_tokens=5
        )
    assert raised.value.code == "non_finite"
    assert "float32" in str(raised.value.hint)
