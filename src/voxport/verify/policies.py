"""What counts as the same. A policy is declared, printed with its limits, and says what it can't show."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError
from voxport.metrics import DEFINITIONS
from voxport.verify import limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voxport.verify.outcome import Outcome

__all__ = ["POLICIES", "PRIVATE_ASKS", "PRIVATE_CANNOT_SHOW", "Check", "Policy", "Verdict", "get_policy"]


@dataclass(frozen=True)
class Check:
    """One requirement.

    Attributes:
        name: what is asked for.
        value: what was found.
        limit: what was allowed.
        ok: whether it holds.
        where: the recording or stage of the value.
    """

    name: str
    value: float
    limit: float
    ok: bool
    where: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a policy says of an outcome."""

    policy: str
    ok: bool
    checks: tuple[Check, ...]
    cannot_show: str


@dataclass(frozen=True)
class Policy:
    """Requirements.

    Attributes:
        name, asks, cannot_show: for people.
        same_dtype: it is only for sides of one dtype.
        stages: it needs the stages.
        check: outcome -> checks.
    """

    name: str
    asks: str
    cannot_show: str
    check: Callable[[Outcome], Iterator[Check]] = field(repr=False)
    same_dtype: bool = False
    stages: bool = False

    def judge(self, outcome: Outcome) -> Verdict:
        """Apply it.

        Raises:
            UsageError: the sides are not what it is for.
        """
        if self.same_dtype and outcome.reference.dtype != outcome.candidate.dtype:
            raise UsageError(
                f"the policy {self.name} compares sides of one dtype, not {outcome.reference.dtype} and "
                f"{outcome.candidate.dtype}",
                hint=f"--reference transformers/cpu:{outcome.candidate.dtype}, or another --policy",
            )
        checks = (*_nothing_failed(outcome), *self.check(outcome))
        return Verdict(self.name, all(check.ok for check in checks), checks, self.cannot_show)


PRIVATE_ASKS = (
    "the same tokens in every window, nothing that fails or is not finite, and in every stage a mean and a root mean "
    f"square that differ by at most {', '.join(f'{value:g} ({dtype})' for dtype, value in limits.STATISTICS.items())} "
    "of the latter"
)
"""Of a comparison with a private trace, for which there is one policy."""

PRIVATE_CANNOT_SHOW = (
    "errors that leave every stage's mean and size as they were, where a difference is made, or how many words differ"
)


def get_policy(name: str) -> Policy:
    """A policy by name, or one's own from a TOML file.

    Raises:
        UsageError: there is no such policy, or the file says something that can't be.
    """
    if name in POLICIES:
        return POLICIES[name]
    if name.endswith(".toml"):
        return _own(Path(name))
    raise UsageError(f"no policy {name!r}", hint=f"policies are: {', '.join(POLICIES)}, or FILE.toml")


# ------------------------------------------------------------------------------------------------------------ checks


def _nothing_failed(outcome: Outcome) -> Iterator[Check]:
    failed = [window for window in outcome.windows if window.failure is not None]
    yield Check("windows that gave nothing", len(failed), 0, not failed, failed[0].failure or "" if failed else "")
    counted = [
        (window.logits["non_finite"], f"{window.file}, logits")
        for window in outcome.windows
        if window.logits is not None
    ]
    counted += [
        (stage.passed["non_finite"], f"{window.file}, {stage.name}")
        for window in outcome.windows
        for stage in window.stages
    ]
    worst = max(counted, default=(0.0, ""))
    first = next((where for count, where in counted if count), "")
    yield Check("values that are not finite", worst[0], 0, not worst[0], first)


def _at_most(outcome: Outcome, part: str, metric: str, limit: float) -> Check:
    found = outcome.worst(part, metric)
    if found is None:
        return Check(f"{part}: {metric}", math.nan, limit, False, "not measured")
    value, window = found
    return Check(f"{part}: {metric}", value, limit, value <= limit, f"{window.file} at {window.start:g} s")


def _stages_at_most(outcome: Outcome, part: str, metric: str, limit: float) -> Check:
    found = outcome.worst_stages(part, metric)
    if not found:
        return Check(f"stages ({part}): {metric}", math.nan, limit, False, "no stage was looked at")
    name = max(found, key=lambda one: (found[one] != found[one], found[one]))
    return Check(f"stages ({part}): {metric}", found[name], limit, found[name] <= limit, name)


def _same_tokens(outcome: Outcome) -> Check:
    differ = [window for window in outcome.windows if window.tokens[0] != window.tokens[1]]
    where = f"{differ[0].file} at {differ[0].start:g} s" if differ else ""
    return Check("windows with other tokens", len(differ), 0, not differ, where)


def _same_text(outcome: Outcome) -> Check:
    differ = [window for window in outcome.windows if window.text[0].split() != window.text[1].split()]
    where = f"{differ[0].file} at {differ[0].start:g} s" if differ else ""
    return Check("windows with another text", len(differ), 0, not differ, where)


def _words(outcome: Outcome, share: float = 0.005, floor: int = 1) -> Check:
    errors, count = outcome.total("word_edits")
    allowed = max(floor, share * count)
    worst = max(outcome.windows, key=lambda window: window.word_edits[0])
    where = f"most in {worst.file} at {worst.start:g} s" if errors else ""
    return Check(f"words that differ, of {count}", errors, allowed, errors <= allowed, where)


def _margins(outcome: Outcome, limit: float) -> Check:
    found = [
        (difference.margin, f"{window.file} at {window.start:g} s, position {difference.position}")
        for window in outcome.windows
        for difference in window.differences
    ]
    value, where = max(found, default=(0.0, ""))
    return Check(
        f"margin of the reference where the likeliest token differs ({len(found)})", value, limit, value <= limit, where
    )


def _check_words(outcome: Outcome) -> Iterator[Check]:
    yield _words(outcome)
    yield _margins(outcome, limits.MARGIN[outcome.candidate.dtype])


def _check_exact(outcome: Outcome) -> Iterator[Check]:
    dtype = outcome.candidate.dtype
    yield _stages_at_most(outcome, "made", "relative_l2", limits.STAGE[dtype])
    yield _at_most(outcome, "logits", "relative_l2", limits.LOGITS[dtype])
    if outcome.candidate.engine == "voxport":
        yield _at_most(outcome, "path", "relative_l2", limits.PATH[dtype])


def _check_medasr(outcome: Outcome) -> Iterator[Check]:
    yield _at_most(outcome, "logits", "mean_relative", 0.01)
    yield _same_text(outcome)


def _check_whisper(outcome: Outcome) -> Iterator[Check]:
    yield _at_most(outcome, "probabilities", "max_probability", 0.01)
    yield _same_tokens(outcome)


def _check_cann(outcome: Outcome) -> Iterator[Check]:
    matched = {
        stage.name: stage.made["cann_matched"]
        for window in outcome.windows
        for stage in window.stages
        if stage.made is not None
    }
    name = min(matched, key=lambda one: matched[one], default="")
    value = matched.get(name, math.nan)
    yield Check("stages (made): cann_matched, at least", value, 0.99, value >= 0.99, name or "no stage was looked at")
    yield _stages_at_most(outcome, "made", "cann_beyond", 0)


def _check_msprobe(outcome: Outcome) -> Iterator[Check]:
    metric, limit = ("over_thousandth", 1e-3) if outcome.candidate.dtype == "float32" else ("over_hundredth", 1e-2)
    worst: tuple[float, str] = (-1.0, "no stage was looked at")
    for window in outcome.windows:
        for stage in window.stages:
            made = stage.made
            if made is None or (made["cosine"] > 0.99 and made["max_abs"] < 0.001):
                continue
            worst = max(worst, (made[metric] if made[metric] == made[metric] else math.inf, stage.name))
    looked = any(window.stages for window in outcome.windows)
    value = max(worst[0], 0.0) if looked else math.nan
    yield Check(
        f"stages (made) without cosine > 0.99 and max_abs < 0.001: {metric}", value, limit, value < limit, worst[1]
    )


POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(
            "words",
            "nothing fails or is not finite; words that differ are at most max(1, 0.5 %) of all; where the likeliest "
            "token differs, both given the same tokens, the reference's margin is below "
            f"{', '.join(f'{value:g} ({dtype})' for dtype, value in limits.MARGIN.items())} logits",
            "that other recordings would give the same words, that either side is right, or that numbers are close",
            _check_words,
        ),
        Policy(
            "exact",
            "sides of one dtype; every stage, on the reference's inputs, within rounding: relative L2 at most "
            f"{', '.join(f'{value:g} ({dtype})' for dtype, value in limits.STAGE.items())}; logits at most "
            f"{', '.join(f'{value:g} ({dtype})' for dtype, value in limits.LOGITS.items())}, and the fast path as "
            "close to the table of stages",
            "faults smaller than rounding, or in what the recordings do not reach (other lengths, languages, batches)",
            _check_exact,
            same_dtype=True,
            stages=True,
        ),
        Policy(
            "medasr-writeup",
            "mean relative error of the logits below 1 %, and the same text",
            "much: the mean of relative errors grows without bound where logits are near 0, and is small where all "
            "frames are blank",
            _check_medasr,
        ),
        Policy(
            "whisper-writeup",
            "largest difference of a probability below 1 %, and the same tokens",
            "errors in logits that are far from being chosen; tokens of other recordings",
            _check_whisper,
        ),
        Policy(
            "cann",
            "CANN's operator standard on each stage with the reference's inputs: 99 % of elements within "
            "atol + rtol |r|, none beyond max(floor, 32 units in the last place)",
            "what many small errors do together to the words",
            _check_cann,
            stages=True,
        ),
        Policy(
            "msprobe",
            "msprobe's check of each operation with the reference's inputs: cosine > 0.99 and max_abs < 0.001, else "
            "double-thousandth (float32) or double-hundredth (float16, bfloat16)",
            "what many small errors do together to the words; a relative error near 0 says little",
            _check_msprobe,
            stages=True,
        ),
    )
}

# ------------------------------------------------------------------------------------------------------- one's own

_PARTS = ("logits", "probabilities", "features", "path", "stages.made", "stages.passed")


def _own(path: Path) -> Policy:
    """``name``, ``cannot_show``, ``same_text``, ``same_tokens``, ``words = {share, floor}``, ``margin``, and
    ``[limits]`` with "PART.METRIC" = the largest value allowed."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the policy {path} can't be read: {error}") from error
    known = {"name", "cannot_show", "same_text", "same_tokens", "words", "margin", "limits"}
    unknown = sorted(content.keys() - known)
    if unknown or len(content.keys() & (known - {"name", "cannot_show"})) == 0:
        what = f"unknown key {unknown[0]!r}" if unknown else "it asks for nothing"
        raise UsageError(f"the policy {path}: {what}", hint=f"keys are: {', '.join(sorted(known))}")
    asked = _limits(content.get("limits", {}), path)
    return Policy(
        str(content.get("name", path.stem)),
        ", ".join(f"{key} <= {value:g}" for key, value in asked.items()) or "see the file",
        str(content.get("cannot_show", "what its limits leave open")),
        lambda outcome: _check_own(outcome, content, asked),
        stages=any(key.startswith(("stages", "path", "features")) for key in asked),
    )


def _limits(given: Any, path: Path) -> dict[str, float]:
    if not isinstance(given, dict):
        raise UsageError(f"the policy {path}: [limits] is a table")
    for key, value in given.items():
        part, _, metric = key.rpartition(".")
        if part not in _PARTS or metric not in DEFINITIONS or type(value) not in (int, float):
            raise UsageError(
                f"the policy {path}: {key!r} = {value!r} is no limit",
                hint=f'write "PART.METRIC" = NUMBER; parts: {", ".join(_PARTS)}; metrics: --explain',
            )
    return {key: float(value) for key, value in given.items()}


def _check_own(outcome: Outcome, content: dict[str, Any], asked: dict[str, float]) -> Iterator[Check]:
    for key, limit in asked.items():
        part, _, metric = key.rpartition(".")
        if part.startswith("stages."):
            yield _stages_at_most(outcome, part.removeprefix("stages."), metric, limit)
        else:
            yield _at_most(outcome, part, metric, limit)
    if content.get("same_text"):
        yield _same_text(outcome)
    if content.get("same_tokens"):
        yield _same_tokens(outcome)
    if "words" in content:
        yield _words(outcome, **content["words"])
    if "margin" in content:
        yield _margins(outcome, float(content["margin"]))
