"""Two reports become one difference; what can't be compared is refused, what can't be compared in part is said."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from voxport.errors import UsageError
from voxport.report.content import Statement
from voxport.report.diff.accuracy import Accuracy, compare_accuracy
from voxport.report.diff.conditions import Condition, conditions_that_differ
from voxport.report.diff.error_rates import ErrorRates, compare_error_rates
from voxport.report.diff.judging import Judgement, judge
from voxport.report.diff.speed import Speed, compare_speed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.report.measurements import Measurements

__all__ = ["ReportDifference", "compare_reports"]


@dataclass(frozen=True)
class ReportDifference:
    """From the first report to the second.

    Attributes:
        summaries: of both.
        notes: what a reader must know before anything else, the gravest first.
        judgement: better, same or worse, and why.
    """

    summaries: tuple[dict[str, Any], dict[str, Any]]
    notes: tuple[Statement, ...]
    conditions: tuple[Condition, ...]
    accuracy: Accuracy
    speed: Speed
    rates: ErrorRates
    judgement: Judgement

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``report diff --json``, documented in docs/guides/report.md."""
        summaries = [
            {key: summary[key] for key in ("voxport", "made", "model", "candidate", "reference")}
            for summary in self.summaries
        ]
        speed = {**vars(self.speed), "metrics": [metric.to_dict() for metric in self.speed.metrics]}
        rates = asdict(self.rates)
        for row, change in zip(rates["rows"], self.rates.rows, strict=True):
            row["overlap"] = change.overlap
        return {
            "schema": 1,
            "kind": "voxport report diff",
            "first": summaries[0],
            "second": summaries[1],
            "verdict": self.judgement.word,
            "worse": [asdict(reason) for reason in self.judgement.worse],
            "better": [asdict(reason) for reason in self.judgement.better],
            "notes": [asdict(note) for note in self.notes],
            "conditions": [asdict(condition) for condition in self.conditions],
            "accuracy": asdict(self.accuracy),
            "speed": speed,
            "error_rates": rates,
        }


def compare_reports(first: Measurements, second: Measurements) -> ReportDifference:
    """What changed from the first to the second.

    Raises:
        UsageError: they are about models of different families or about other recordings, or one is damaged.
    """
    try:
        _require_same_subject(first, second)
        accuracy = compare_accuracy(first.verify, second.verify)
        speed = compare_speed(first.bench, second.bench)
        rates = compare_error_rates(first.score, second.score)
        return ReportDifference(
            summaries=(first.summary, second.summary),
            notes=tuple(_notes(first, second, accuracy, speed, rates)),
            conditions=conditions_that_differ(first, second),
            accuracy=accuracy,
            speed=speed,
            rates=rates,
            judgement=judge(accuracy, speed, rates),
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        # Reports come from other people: what they lack is found where it is looked for.
        raise UsageError(
            f"one of the reports is not as voxport writes it: {type(error).__name__}: {error}",
            hint="`voxport report check` tells whether its files were changed",
        ) from error


def _require_same_subject(first: Measurements, second: Measurements) -> None:
    families = [one.summary["model"]["family"] for one in (first, second)]
    if families[0] != families[1]:
        raise UsageError(f"the reports are about models of different families: {families[0]} and {families[1]}")
    clips = [{clip["sha256"]: clip["name"] for clip in one.bench["conditions"]["clips"]} for one in (first, second)]
    if clips[0].keys() != clips[1].keys():
        only = [sorted(clips[index][one] for one in clips[index].keys() - clips[1 - index].keys()) for index in (0, 1)]
        raise UsageError(
            f"the reports are about other recordings: {_some(only[0])} only in the first, {_some(only[1])} only in the "
            "second (by the samples in them)",
            hint="make both from the same recordings",
        )


def _some(names: list[str], most: int = 5) -> str:
    return (", ".join(names[:most]) or "none") + (f" and {len(names) - most} more" if len(names) > most else "")


def _notes(
    first: Measurements, second: Measurements, accuracy: Accuracy, speed: Speed, rates: ErrorRates
) -> Iterator[Statement]:
    models = first.summary["model"], second.summary["model"]
    if models[0]["identity"] != models[1]["identity"]:
        names = {"first": models[0]["name"], "second": models[1]["name"]}
        yield Statement("other_weights", names)
    for which, model in zip(("first", "second"), models, strict=True):
        if model["random_weights"]:
            yield Statement(f"random_{which}", {})
    for which, one in (("first", first), ("second", second)):
        side = one.verify["candidate"]
        if side["simulated"]:
            yield Statement(f"simulated_{which}", {"side": side["side"], "what": side["simulated"]})
    if not accuracy.same_policy:
        yield Statement("other_policy", {"first": accuracy.policies[0], "second": accuracy.policies[1]})
    if accuracy.left_out:
        yield Statement("windows_left_out", {"compared": accuracy.compared, "left_out": accuracy.left_out})
    if accuracy.references_changed:
        yield Statement("reference_says_other", {"windows": accuracy.references_changed})
    if speed.refused is not None:
        yield Statement("speed_refused", {"why": speed.refused})
    if speed.simulated:
        yield Statement("speed_simulated", {})
    elif any(metric.low is None for metric in speed.judged()):
        yield Statement("speed_few", {})
    changed = speed.reference_changed()
    if changed and not speed.simulated:
        yield Statement("reference_speed", {"what": ", ".join(f"{one.title}: {one.ratio - 1:+.1%}" for one in changed)})
    for which, findings in zip(("first", "second"), speed.noisy, strict=True):
        if findings:
            yield Statement(f"noisy_{which}", {"findings": findings})
    if rates.missing is not None:
        yield Statement(f"no_rates_{rates.missing}", {})
    elif rates.other_texts or rates.left_out:
        yield Statement("clips_left_out", {"other_texts": rates.other_texts, "left_out": rates.left_out})
    if any(row.difference is None for row in rates.rows):
        yield Statement("few_clips", {})
