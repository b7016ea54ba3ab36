"""An outcome and its verdict as text: the verdict first, then what it rests on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from voxport.metrics import DEFINITIONS
from voxport.verify.policies import POLICIES, PRIVATE_ASKS, PRIVATE_CANNOT_SHOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voxport.verify.outcome import Outcome, SideFacts, WindowResult
    from voxport.verify.policies import Check, Verdict
    from voxport.verify.private import PrivateOutcome

__all__ = ["check_table", "explain_metrics", "number", "render", "sides_table", "table"]

LOGITS = ("max_abs", "mean_abs", "mean_relative", "rmse", "relative_l2", "cosine")
PROBABILITIES = ("max_probability", "kl", "top1")
WORST = 6
"""Stages shown without ``--stages``, and windows without ``--clips``."""


def render(outcome: Outcome, verdict: Verdict, *, all_stages: bool = False, all_clips: bool = False) -> Iterator[str]:
    """Lines."""
    yield from check_table(outcome, verdict)
    yield ""
    yield from sides_table(outcome)
    yield from _words(outcome)
    yield from _clips(outcome, all_clips=all_clips)
    yield from _numbers(outcome)
    yield from _findings(outcome)
    yield from _stages(outcome, all_stages=all_stages)
    yield ""
    parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in outcome.seconds.items())
    yield f"took: {parts}"


def check_table(outcome: Outcome | PrivateOutcome, verdict: Verdict) -> Iterator[str]:
    """The verdict, and what it rests on."""
    yield from _headline(outcome, verdict)
    yield ""
    yield from table([["", "found", "allowed", ""], *(_check(check) for check in verdict.checks)], "  ")
    yield f"  It does not show {verdict.cannot_show}."


def explain_metrics() -> Iterator[str]:
    """Every metric's definition, and what the policies ask for."""
    yield "metrics (r the reference's value, c the candidate's, d = c - r; arrays float32, sums over pieces float64):"
    yield from table([[f"  {name}", text] for name, text in DEFINITIONS.items()], "")
    yield ""
    yield "policies:"
    for policy in POLICIES.values():
        yield f"  {policy.name}: {policy.asks}."
        yield f"    cannot show: {policy.cannot_show}."
    yield f"  private (--against a trace that was saved with --private): {PRIVATE_ASKS}."
    yield f"    cannot show: {PRIVATE_CANNOT_SHOW}."


def _headline(outcome: Outcome | PrivateOutcome, verdict: Verdict) -> Iterator[str]:
    word = "PASS" if verdict.ok else "FAIL"
    yield f"{word} ({verdict.policy})  {outcome.model}: {outcome.candidate.side} against {outcome.reference.side}"
    for side, facts in (("candidate", outcome.candidate), ("reference", outcome.reference)):
        if facts.simulated:
            yield f"  simulated: the {side}'s {facts.simulated} is simulated on the CPU: its numbers are the CPU's"
    if outcome.candidate.random_weights or outcome.reference.random_weights:
        yield "  random weights: the words mean nothing"
    for note in outcome.notes:
        yield f"  note: {note}"


def _check(check: Check) -> list[str]:
    sign = "ok  " if check.ok else "FAIL"
    return [f"{sign} {check.name}", number(check.value), number(check.limit), check.where]


def sides_table(outcome: Outcome | PrivateOutcome) -> Iterator[str]:
    """Who was compared."""
    yield "sides:"
    yield from table([_side("reference", outcome.reference), _side("candidate", outcome.candidate)], "  ")


def _side(name: str, facts: SideFacts) -> list[str]:
    environment = facts.environment
    torch = f"torch {environment.get('torch')}"
    mixed = f", {len(facts.float32_modules)} modules in float32," if facts.float32_modules else ""
    return [name, facts.side, f"{facts.dtype}{mixed} on {facts.device}", str(environment.get("chip")), torch,
            f"weights {facts.identity[:12]}"]  # fmt: skip


def _words(outcome: Outcome) -> Iterator[str]:
    tokens, words, characters = (outcome.total(f"{unit}_edits") for unit in ("token", "word", "character"))
    same = sum(window.tokens[0] == window.tokens[1] for window in outcome.windows)
    texts = sum(window.text[0].split() == window.text[1].split() for window in outcome.windows)
    yield ""
    yield f"words, of {len(outcome.windows)} windows of {len({window.file for window in outcome.windows})} recordings:"
    rows = [
        ["  token_match", _share(1 - tokens[0] / max(1, tokens[1])), f"{tokens[0]} of {tokens[1]} differ"],
        ["  sequence_match", f"{same} of {len(outcome.windows)}", "windows with the same tokens"],
        ["  text identical", f"{texts} of {len(outcome.windows)}", "windows with the same text"],
        ["  wer", _share(words[0] / max(1, words[1])), f"{words[0]} of {words[1]} words"],
        ["  cer", _share(characters[0] / max(1, characters[1])), f"{characters[0]} of {characters[1]} characters"],
    ]
    yield from table(rows, "")
    for window in [one for one in outcome.windows if one.text[0].split() != one.text[1].split()][:5]:
        yield f"  {_where(window)}"
        yield f"    reference: {window.text[0].strip()}"
        yield f"    candidate: {window.text[1].strip() if window.failure is None else window.failure}"


def _clips(outcome: Outcome, *, all_clips: bool) -> Iterator[str]:
    windows = outcome.windows
    if len(windows) == 1 and not all_clips:
        return
    if not all_clips:
        windows = tuple(sorted(windows, key=_difference, reverse=True)[:WORST])
    some = f", the {WORST} that differ most (--clips shows all)" if len(outcome.windows) > len(windows) else ""
    order = "" if all_clips or some else ", those that differ most first"
    yield ""
    yield f"windows{some or order}:"
    rows = [["  seconds", "tokens", "words", "relative_l2", "max_probability", ""]]
    for window in windows:
        tokens, words = ("{} of {}".format(*pair) for pair in (window.token_edits, window.word_edits))
        logits, probabilities = window.logits or {}, window.probabilities or {}
        figures = (logits.get("relative_l2", math.nan), probabilities.get("max_probability", math.nan))
        rows.append([f"  {window.seconds:.1f}", tokens, words, *map(number, figures), _where(window)])
    yield from table(rows, "")


def _difference(window: WindowResult) -> tuple[bool, int, int, float]:
    """What differs more is larger."""
    error = math.inf if window.logits is None else _badness(window.logits["relative_l2"])
    return window.failure is not None, window.word_edits[0], window.token_edits[0], error


def _numbers(outcome: Outcome) -> Iterator[str]:
    looked = [window for window in outcome.windows if window.logits is not None and window.probabilities is not None]
    if not looked:
        return
    yield ""
    yield "logits, given the same tokens, the largest of all windows (cosine, top1: the smallest):"
    rows = []
    for part, names in (("logits", LOGITS), ("probabilities", PROBABILITIES)):
        for name in names:
            values = [getattr(window, part)[name] for window in looked]
            best_is_one = name in ("cosine", "top1")
            value = min(values) if best_is_one else max(values)
            shown = number(value) + (f"  ({value:.2%})" if name in ("mean_relative", "max_probability") else "")
            rows.append([f"  {name}", shown])
    differences = [(difference, window) for window in looked for difference in window.differences]
    rows.append(
        ["  likeliest token differs", f"{len(differences)} of {sum(one.positions for one in looked)} positions"]
    )
    yield from table(rows, "")
    for difference, window in sorted(differences, key=lambda pair: -pair[0].margin)[:5]:
        yield f"    margin {difference.margin:.3g} at position {difference.position} of {_where(window)}"


def _findings(outcome: Outcome) -> Iterator[str]:
    found = [(finding, window) for window in outcome.windows for finding in window.findings]
    if not found:
        return
    yield ""
    yield "made here, beyond rounding (each module on the reference's own inputs), worst first:"
    seen: set[str] = set()
    for finding, window in sorted(found, key=lambda pair: -_badness(pair[0].error)):
        if finding.module not in seen and len(seen) < WORST:
            seen.add(finding.module)
            yield f"  {finding.module}: {finding.cause}"
            allowed = f"{number(finding.error)}, rounding is at most {number(finding.limit)}"
            yield f"    relative L2 {allowed}; {finding.evidence} ({_where(window)})"


def _stages(outcome: Outcome, *, all_stages: bool) -> Iterator[str]:
    passed = outcome.worst_stages("passed", "relative_l2")
    made = outcome.worst_stages("made", "relative_l2")
    if not passed:
        return
    names = list(passed) if all_stages else sorted(made or passed, key=lambda name: -_badness((made or passed)[name]))
    yield ""
    shown = "all stages" if all_stages else f"the {WORST} stages that make most (--stages shows all)"
    yield f"relative L2, {shown}:"
    rows = [["  stage", "made here", "with what was passed on"]]
    rows += [
        [f"  {name}", number(made.get(name, math.nan)), number(passed[name])]
        for name in (names if all_stages else names[:WORST])
    ]
    yield from table(rows, "")


def _badness(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _where(window: WindowResult) -> str:
    return f"{window.file} at {window.start:g} s" if window.start else window.file


def number(value: float) -> str:
    """Three digits, more of what is nearly 1, and whole numbers as they are."""
    if math.isnan(value):
        return "not a number"
    return (
        f"{value:.0f}"
        if float(value).is_integer() and abs(value) < 1e6
        else f"{value:.8g}"
        if 0.9 < value < 1
        else f"{value:.3g}"
    )


def _share(value: float) -> str:
    return f"{value:.2%}"


def table(rows: Sequence[Sequence[str]], indent: str) -> Iterator[str]:
    """Columns as wide as their widest cell, but for the last."""
    widths = [
        max((len(row[column]) for row in rows if column < len(row) - 1), default=0)
        for column in range(max(map(len, rows)))
    ]
    for row in rows:
        cells = [cell.ljust(widths[index]) for index, cell in enumerate(row[:-1])]
        yield (indent + "  ".join([*cells, row[-1]])).rstrip()
