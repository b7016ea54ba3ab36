"""A network as a table: every stage by its published module path, what it reads, and how it is computed.

With it a network can be looked into (`run_stages`), and one stage can be computed on somebody else's inputs: an error
that is made there is told apart from one that is passed on. The table computes with the model's own parameters, on its
device, in its dtypes, in plain operations; the fast path is held against it.

Names between modules: ``X.self_attn`` is attention itself, from projected queries, keys and values to what the output
projection reads; ``X.residual`` is the stream behind the addition of X; ``X.activation_fn`` is what the next layer
reads. A layer's own name is the stream behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from voxport.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = ["Inspectable", "Stage", "Tabled", "inputs_of", "norms_behind", "parameters", "run_stages"]


@dataclass(frozen=True)
class Stage:
    """One row.

    Attributes:
        name: published module path, or one of those said above.
        reads: names of the stages whose results it takes, in order; "features" and "tokens" are given.
        compute: results of those -> its own. Shapes (B, T, ...); None where this engine can't compute it alone.
        kind: "linear", "norm", "convolution", "attention", "activation", "gate", "residual", or "embedding".
        module: path of the module that holds its parameters, None = it has none.
        heads: of attention, else 0.
        rotary_base: of attention with rotary positions, else 0.
    """

    name: str
    reads: tuple[str, ...]
    compute: Callable[..., Tensor] | None
    kind: str
    module: str | None = None
    heads: int = 0
    rotary_base: float = 0.0


@runtime_checkable
class Inspectable(Protocol):
    """A model that can be looked into. Stage names are the published module paths, in every engine."""

    def stages(self) -> list[Stage]:
        """The table, in the order of computation. The last stage gives the logits."""
        ...

    def capture(
        self, names: Collection[str], features: Any, tokens: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        """Results of the named stages in a forward pass over `features`, teacher-forced on `tokens` where the family
        needs them: (B, T, ...) in the dtype and on the device in which they were computed."""
        ...

    def given(self, features: Any, tokens: Sequence[Sequence[int]] | None) -> dict[str, Tensor]:
        """What the table starts from, "features" and, where the family needs them, "tokens", on the model's device."""
        ...

    def parameter(self, path: str) -> dict[str, Tensor]:
        """The parameters of the module at a published path: weight, bias, ... as far as it has them."""
        ...


class Tabled:
    """What `Inspectable` asks for, as far as it follows from the table. A model of ours adds the rest."""

    def stages(self) -> list[Stage]:
        raise NotImplementedError

    def given(self, features: Any, tokens: Sequence[Sequence[int]] | None) -> dict[str, Tensor]:
        raise NotImplementedError

    def capture(
        self, names: Collection[str], features: Any, tokens: Sequence[Sequence[int]] | None
    ) -> dict[str, Tensor]:
        """As `Inspectable.capture`; each stage on this network's own results."""
        with torch.inference_mode():
            return run_stages(self.stages(), self.given(features, tokens), names)


def parameters(net: nn.Module, path: str) -> dict[str, Tensor]:
    """Parameters and statistics of the module at a path, by their own names, and a norm's ``eps``."""
    module = net.get_submodule(path)
    found = {name: value.detach() for name, value in module.named_parameters(recurse=False)}
    found |= {name: value for name, value in module.named_buffers(recurse=False) if value.is_floating_point()}
    if isinstance(module, (nn.LayerNorm, nn.BatchNorm1d)):
        found["eps"] = torch.tensor(module.eps, dtype=torch.float64)
    return found


def norms_behind(stages: Sequence[Stage]) -> dict[str, str]:
    """Name of a stage -> the norm that reads it, whose dtype its result has where it is a sum."""
    return {stage.reads[0]: stage.name for stage in stages if stage.kind == "norm"}


def inputs_of(stages: Sequence[Stage], names: Collection[str]) -> set[str]:
    """The names that these stages read.

    Raises:
        UsageError: there is no such stage.
    """
    table = {stage.name: stage for stage in stages}
    unknown = sorted(set(names) - table.keys())
    if unknown:
        raise UsageError(f"no stage {unknown[0]!r}", hint="stages are published module paths")
    return {read for name in names for read in table[name].reads}


def run_stages(stages: Sequence[Stage], given: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Compute the table from the start, each stage on this network's own results; keeps only what is wanted."""
    inputs_of(stages, wanted)
    last_use: dict[str, int] = {}
    for index, stage in enumerate(stages):
        for read in stage.reads:
            last_use[read] = index
    results: dict[str, Tensor] = dict(given)
    remaining = set(wanted)
    for index, stage in enumerate(stages):
        if not remaining:
            break
        assert stage.compute is not None, f"{stage.name} can't be computed from a table"
        results[stage.name] = stage.compute(*(results[read] for read in stage.reads))
        remaining.discard(stage.name)
        for read in stage.reads:
            if last_use[read] == index and read not in wanted:
                results.pop(read, None)
    return {name: results[name] for name in wanted}
