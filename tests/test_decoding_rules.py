"""Whisper's rules on the next token, against a straightforward reading of openai/whisper's, row by row."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxport.decoding.whisper_rules import NEVER, WhisperRules

EOT, NO_TIMESTAMPS, BEGIN, TIMES = 40, 45, 46, 20
VOCABULARY = BEGIN + TIMES


def rules(**changes: object) -> WhisperRules:
    values: dict[str, object] = {
        "vocabulary": VOCABULARY,
        "eot": EOT,
        "no_timestamps": NO_TIMESTAMPS,
        "timestamp_begin": BEGIN,
        "suppress": (3, 41),
        "suppress_first": (7, EOT),
        "max_initial_timestamp": 5,
    }
    return WhisperRules(**{**values, **changes})  # type: ignore[arg-type]


def published_choice(logits: torch.Tensor, history: list[int], which: WhisperRules) -> tuple[int, float]:
    """One row, after SuppressBlank, SuppressTokens and ApplyTimestampRules of openai/whisper's decoding.py."""
    logits = logits.clone()
    logits[list(which.suppress)] = NEVER
    if not history:
        logits[list(which.suppress_first)] = NEVER
    if which.timestamps:
        logits[NO_TIMESTAMPS] = NEVER
        last = len(history) >= 1 and history[-1] >= BEGIN
        penultimate = len(history) < 2 or history[-2] >= BEGIN
        if last:
            if penultimate:
                logits[BEGIN:] = NEVER
            else:
                logits[:EOT] = NEVER
        times = [token for token in history if token >= BEGIN]
        if times:
            floor = times[-1] if last and not penultimate else times[-1] + 1
            logits[BEGIN:floor] = NEVER
        if not history:
            logits[:BEGIN] = NEVER
            if which.max_initial_timestamp is not None:
                logits[BEGIN + which.max_initial_timestamp + 1 :] = NEVER
        logprobs = logits.log_softmax(-1)
        if logprobs[BEGIN:].logsumexp(-1) > logprobs[:BEGIN].max():
            logits[:BEGIN] = NEVER
    logprobs = logits.log_softmax(-1)
    token = int(logprobs.argmax())
    return token, float(logprobs[token])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 4), timestamps=st.booleans(), lean=st.floats(-6, 6))
def test_choices_equal_the_published_rules(seed: int, rows: int, timestamps: bool, lean: float) -> None:
    """`lean` tilts the logits to or from timestamps, so that every branch is met."""
    which = rules(timestamps=timestamps)
    generator = torch.Generator().manual_seed(seed)
    state = which.start(rows, torch.device("cpu"))
    bias = which.bias(torch.device("cpu"), torch.float32)
    history: list[list[int]] = [[] for _ in range(rows)]
    # One step at a time, or four, as where the host looks at the tokens every few steps only.
    count = 4 if seed % 2 else 1
    for step in range(12):
        index = step % count
        if index == 0:
            steps = state.begin(count)
            expected: list[list[int]] = []
            probabilities: list[list[float]] = []
        logits = torch.randn(rows, VOCABULARY, generator=generator) * 3
        logits[:, BEGIN:] += lean
        given = logits + bias
        room = steps.room(index)
        tokens = state.choose(given if room is None else room.copy_(given), steps, index)
        published = [published_choice(logits[row], history[row], which) for row in range(rows)]
        assert tokens.tolist() == [token for token, _ in published]
        for past, (token, _) in zip(history, published, strict=True):
            past.append(token)
        expected.append([token for token, _ in published])
        probabilities.append([logprob for _, logprob in published])
        if index == count - 1:
            assert steps.tokens.tolist() == expected
            torch.testing.assert_close(state.logprobs(steps), torch.tensor(probabilities), atol=1e-4, rtol=0)


def test_a_dropped_row_leaves_the_others_their_own_history() -> None:
    which = rules()
    generator = torch.Generator().manual_seed(1)
    state = which.start(3, torch.device("cpu"))
    bias = which.bias(torch.device("cpu"), torch.float32)
    history: list[list[int]] = [[], [], []]
    for step in range(10):
        if step == 4:  # the first row ends: the third takes its place
            state.drop_row(0, 2)
            history = [history[2], history[1]]
        logits = torch.randn(len(history), VOCABULARY, generator=generator) * 3
        tokens = state.choose(logits + bias, state.begin(1), 0)
        for row, past in enumerate(history):
            expected, _ = published_choice(logits[row], past, which)
            assert int(tokens[row]) == expected
            past.append(expected)


def test_non_finite_logits_give_a_non_finite_probability() -> None:
    state = rules().start(1, torch.device("cpu"))
    logits = torch.zeros(1, VOCABULARY)
    logits[0, BEGIN + 1] = math.nan
    steps = state.begin(1)
    state.choose(logits, steps, 0)
    assert not torch.isfinite(state.logprobs(steps)).any()
