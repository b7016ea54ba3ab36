"""What is here, what would run where, what is wrong and the command that mends it.

    examine() -> Diagnosis

- `facts`: the nouns.
- `probing`: devices, each kind looked at in a process of its own.
- `host`: what can be found without torch.
- `checks`: from facts to problems.

Nothing raises: a question that can't be answered becomes a problem.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from voxport.devices import DEVICES, choice_text
from voxport.doctor import host
from voxport.doctor.checks import find_problems
from voxport.doctor.facts import (
    AscendFacts,
    Choice,
    CudaFacts,
    Diagnosis,
    Home,
    KindReport,
    Problem,
    Processor,
    PythonFacts,
    RunPlan,
    System,
    TorchFacts,
)
from voxport.doctor.probing import probe
from voxport.models import FAMILIES
from voxport.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Diagnosis", "Problem", "examine"]

_Answer = TypeVar("_Answer")


def examine() -> Diagnosis:
    """Look at everything. Takes a few seconds, in which nothing is written but what libraries cache by themselves."""
    problems: list[Problem] = []

    def ask(what: str, question: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
        try:
            return question()
        except Exception as error:  # noqa: BLE001 - the doctor is for machines on which anything may be broken
            text = " ".join(str(error).split()) or type(error).__name__
            problems.append(Problem("warning", f"can't find out about {what}: {text[:300]}"))
            return otherwise

    kinds = {kind: probe(kind, tuple(FAMILIES)) for kind in DEVICES}
    torch = kinds["cpu"].torch or TorchFacts(None, error=kinds["cpu"].error, hint=kinds["cpu"].hint)
    diagnosis = Diagnosis(
        voxport=__version__,
        system=ask("the system", host.system, System("", "", "", None, None, False)),
        python=ask("Python", host.python, PythonFacts("", "", "")),
        torch=torch,
        processor=ask(
            "the processor",
            lambda: host.processor(torch.threads),
            Processor("", "", None, None, (), None, torch.threads, ""),
        ),
        devices=tuple(device for kind in kinds.values() for device in kind.devices),
        ascend=ask("Ascend's software", host.ascend, AscendFacts()),
        cuda=ask("the NVIDIA driver", host.cuda, CudaFacts()),
        packages=ask("the installed packages", host.packages, ()),
        home=ask("VOXPORT_HOME", host.home, Home("", False, None)),
        models=ask("the models that are here", host.models, ()),
        auto=choose(kinds),
        plan=what_runs_where(kinds.values()),
        environment=ask("the environment", host.environment, {}),
    )
    found = ask("what is wrong", lambda: find_problems(diagnosis, kinds), list[Problem]())
    ordered = sorted([*found, *problems], key=lambda problem: problem.severity != "error")
    return replace(diagnosis, problems=tuple(ordered))


def choose(kinds: Mapping[str, KindReport]) -> Choice:
    """As ``--device auto`` does: it doesn't try devices out."""
    reasons: dict[str, str] = {}
    for kind, report in kinds.items():
        if report.error is None:
            name = report.devices[0].name if report.devices else kind
            return Choice(name, choice_text(name, reasons))
        reasons[kind] = report.error
    return Choice(None, "; ".join(f"no {kind}: {reason}" for kind, reason in reasons.items()))


def what_runs_where(kinds: Iterable[KindReport]) -> tuple[RunPlan, ...]:
    """Each family on each device that works."""
    return tuple(
        RunPlan(family, device.name, dtype)
        for kind in kinds
        for device in kind.devices
        if device.usable
        for family, dtype in (device.dtypes or {}).items()
    )
