"""A difference in words of one language: lines and tables, which `text` and `markdown` write out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voxport.report.language import language

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voxport.bench.diff import Metric
    from voxport.report.content import Statement
    from voxport.report.diff.accuracy import MetricChange, WindowChange
    from voxport.report.diff.comparing import ReportDifference
    from voxport.report.diff.error_rates import RateChange

__all__ = ["Document", "Section", "document_of"]

Table = tuple[tuple[str, ...], ...]
SHOWN_DIFFERENCES = 12


@dataclass(frozen=True)
class Section:
    """Attributes:
    heading: of it.
    table: its first row names the columns; empty = none.
    lines: below the table.
    """

    heading: str
    table: Table = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """Attributes:
    title: which two reports.
    verdict: one word, in capitals where the language has them.
    reasons: (what kind, what).
    notes: what a reader must know.
    sections: the rest.
    """

    title: str
    verdict: str
    reasons: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    sections: tuple[Section, ...]


def document_of(difference: ReportDifference, code: str = "en") -> Document:
    """In one of `voxport.report.language.LANGUAGES`."""
    return _Writer(code).document(difference)


class _Writer:
    def __init__(self, code: str) -> None:
        self._language = language(code)
        self._words = self._language.words

    def document(self, one: ReportDifference) -> Document:
        judgement = one.judgement
        reasons = [(self._said("worse"), reason) for reason in judgement.worse]
        reasons += [(self._said("better"), reason) for reason in judgement.better]
        return Document(
            title=self._title(one),
            verdict=self._said(f"verdict_{judgement.word}"),
            reasons=tuple((kind, self._statement(reason)) for kind, reason in reasons),
            notes=tuple(map(self._statement, one.notes)),
            sections=tuple(self._sections(one)),
        )

    def _title(self, one: ReportDifference) -> str:
        first, second = (
            f"{summary['model']['name']}, {summary['candidate']} ({summary['made']})" for summary in one.summaries
        )
        return self._said("title", first=first, second=second)

    def _sections(self, one: ReportDifference) -> Iterator[Section]:
        between = (self._said("first"), self._said("second"))
        header = ("", *between)
        rows = [(self._name(row.key), row.first, row.second) for row in one.conditions]
        yield self._section("conditions", (header, *rows) if rows else (), () if rows else ("no_conditions",))
        found = one.accuracy
        passes = tuple(self._said("pass" if ok else "fail") for ok in found.passes)
        verdicts = [(self._said("policy", policy=" / ".join(dict.fromkeys(found.policies))), *passes, "")]
        table = (*((*header, self._said("ratio")),), *verdicts, *map(self._metric, found.metrics))
        yield self._section("accuracy", table, ("metrics_judge_nothing",))
        lines = [line for window in found.windows for line in self._window(window)]
        unchanged = self._said("windows_changed", changed=len(found.windows), compared=found.compared)
        yield Section(self._said("words"), (), (unchanged, *lines))
        if found.findings:
            told = (
                self._said("finding_appeared" if one.appeared else "finding_gone", module=one.module, cause=one.cause)
                for one in found.findings
            )
            yield Section(self._said("findings"), (), tuple(told))
        if one.speed.metrics:
            columns = (*header, self._said("change"), self._said("interval"), "")
            yield self._section("speed", (columns, *map(self._speed, one.speed.metrics)), ("speed_judged",))
        if one.rates.rows:
            columns = (*header, self._said("points"), self._said("clips"), self._said("intervals"))
            yield self._section("error_rates", (columns, *map(self._rate, one.rates.rows)), ())
        yield self._section("rules", (), ("rules_worse", "rules_better"))

    def _section(self, heading: str, table: Table, lines: tuple[str, ...]) -> Section:
        return Section(self._said(heading), table, tuple(map(self._said, lines)))

    def _metric(self, change: MetricChange) -> tuple[str, ...]:
        ratio = "-" if change.ratio is None else f"x {_number(change.ratio)}"
        return self._name(change.key), _number(change.first), _number(change.second), ratio

    def _window(self, window: WindowChange) -> Iterator[str]:
        values = {"first": window.edits[0], "second": window.edits[1], "length": window.length}
        yield self._said("window", file=window.file, start=f"{window.start:g}", **values)
        for failure, key in zip(window.failures, ("failed_first", "failed_second"), strict=True):
            if failure is not None:
                yield "  " + self._said(key, failure=failure)
        if not window.differences:
            yield "  " + self._said("other_tokens")
            return
        shown = [f"[{before or '-'} -> {now or '-'}]" for before, now in window.differences[:SHOWN_DIFFERENCES]]
        left = len(window.differences) - len(shown)
        yield "  " + " ".join(shown) + (f" +{left}" if left else "")

    def _speed(self, metric: Metric) -> tuple[str, ...]:
        interval = "-"
        if metric.low is not None and metric.high is not None:
            interval = f"{_percent(metric.low)} .. {_percent(metric.high)}"
        shown = metric.shown(metric.first), metric.shown(metric.second)
        return self._name(metric.title), *shown, _percent(metric.ratio), interval, self._name(metric.verdict)

    def _rate(self, row: RateChange) -> tuple[str, ...]:
        difference = row.difference
        points = "-" if difference is None else f"{100 * difference.low:+.2f} .. {100 * difference.high:+.2f}"
        overlap = {None: "-", True: self._said("overlap"), False: self._said("apart")}[row.overlap]
        name = self._language.label(f"rate.{row.unit}")
        return (
            name,
            _rate(row.first, row.intervals[0]),
            _rate(row.second, row.intervals[1]),
            points,
            str(row.clips),
            overlap,
        )

    def _statement(self, one: Statement) -> str:
        values = {name: self._value(one.key, name, value) for name, value in one.values.items()}
        return self._words["diff_statements"][one.key].format(**values)

    def _value(self, key: str, name: str, value: Any) -> str:
        if name == "what" and key != "simulated_first" and key != "simulated_second":
            return ", ".join(map(self._name, str(value).split(", "))) if key == "reference_speed" else self._name(value)
        if name == "unit":
            return self._language.label(f"rate.{value}")
        if key in ("slower", "faster"):
            return _percent(value)
        if key in ("rate_higher", "rate_lower"):
            return f"{100 * value:+.2f}" if name in ("low", "high") else f"{value:.2%}"
        return _number(value) if value is None or isinstance(value, (int, float)) else str(value)

    def _name(self, key: str) -> str:
        """Of a row: a condition, one of bench's figures ("A encode"), or one of bench's verdicts."""
        side, _, rest = key.partition(" ")
        if side in ("A", "B") and rest:
            return f"{self._said('candidate' if side == 'A' else 'reference')}: {self._name(rest)}"
        side, _, fact = key.partition(".")
        if side in ("candidate", "reference") and fact:
            return f"{self._said(side)}: {self._name(fact)}"
        return self._words["diff_rows"].get(key) or self._language.label(key)

    def _said(self, key: str, **values: Any) -> str:
        return self._words["diff"][key].format(**values)


def _percent(ratio: float) -> str:
    return f"{(ratio - 1) * 100:+.1f} %"


def _rate(rate: float | None, interval: list[float] | None) -> str:
    if rate is None:
        return "-"
    return f"{rate:.2%}" + ("" if interval is None else f" ({interval[0]:.2%} .. {interval[1]:.2%})")


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.8g}" if 0.9 < value < 1 else f"{value:.4g}"
