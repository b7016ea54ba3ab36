"""A side of a comparison: which implementation of a model runs where, in which precision. Parsed here and nowhere else.

[ENGINE/]DEVICE[:INDEX][:DTYPE][+key=value...][@MODEL]

npu:1:float16    transformers/cpu:float32    cpu:bfloat16+threads=1    cpu:float32@./finetuned
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from voxport.devices import DTYPES, PRECISIONS, get_device
from voxport.devices.host import import_torch, set_threads
from voxport.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from voxport.models import ASRModel
    from voxport.models.hub.progress import Progress
    from voxport.models.recipe import Recipe

__all__ = ["ENGINES", "GRAMMAR", "Side", "default_reference"]

GRAMMAR = "[ENGINE/]DEVICE[:INDEX][:DTYPE][+key=value...][@MODEL]"

Engine = Literal["voxport", "transformers"]
ENGINES: tuple[Engine, ...] = ("voxport", "transformers")

_HEAD = re.compile(
    rf"(?:(?P<engine>[a-z]+)/)?(?P<device>auto|cpu|(?:cuda|npu)(?::[0-9]+)?)(?::(?P<dtype>auto|{'|'.join(DTYPES)}))?"
)


@dataclass(frozen=True)
class Side:
    """One side. `str` gives the text that means the same again.

    Attributes:
        engine: "voxport", or "transformers" for the published implementation.
        device: one device, e.g. "npu:1".
        dtype: "auto" is what the device and the model's family suggest.
        batch: windows decoded together, None = what suits the model.
        threads: CPU threads, None = what suits the host.
        attention: of transformers: "eager" (plain operations) or "sdpa"; None = eager.
        precision: "strict" without the device's shortcuts.
        graph: whether a decoder's steps are compiled (NPU).
        recipe: file that names the modules that stay in float32, see `voxport.models.recipe`.
        model: name or folder, None = that of the comparison.
    """

    device: str
    dtype: str = "auto"
    engine: Engine = "voxport"
    batch: int | None = None
    threads: int | None = None
    attention: str | None = None
    precision: str = "default"
    graph: bool = False
    recipe: str | None = None
    model: str | None = None

    @classmethod
    def parse(cls, text: str) -> Side:
        """Read a side.

        Raises:
            UsageError: it can't be understood; the hint says what is possible.
        """
        head, at, model = text.partition("@")
        head, *settings = head.split("+")
        match = _HEAD.fullmatch(head)
        if match is None or (at and not model):
            raise UsageError(
                f"{text!r} is no side: {GRAMMAR}",
                hint=f"e.g. npu:1:float16, transformers/cpu:float32; dtypes: {', '.join(DTYPES)}",
            )
        engine = match["engine"] or "voxport"
        if engine not in ENGINES:
            raise UsageError(f"{text!r}: unknown engine {engine!r}", hint=f"engines are: {', '.join(ENGINES)}")
        values: dict[str, Any] = {}
        for setting in settings:
            key, equals, value = setting.partition("=")
            if key not in _KEYS or not equals or not value:
                raise UsageError(f"{text!r}: unknown setting {setting!r}", hint=f"keys are: {', '.join(_KEYS)}")
            if key in values:
                raise UsageError(f"{text!r} sets {key} twice")
            values[key] = _KEYS[key](key, value)
        side = cls(match["device"], match["dtype"] or "auto", engine, model=model or None, **values)
        side._check_engine()
        return side

    def _check_engine(self) -> None:
        if self.engine == "voxport" and self.attention is not None:
            raise UsageError(f"{self}: attention is a setting of transformers", hint="write transformers/...")
        for key in ("graph", "recipe"):
            if self.engine == "transformers" and getattr(self, key):
                raise UsageError(f"{self}: {key} is a setting of voxport's own engine")

    def __str__(self) -> str:
        engine = "" if self.engine == "voxport" else f"{self.engine}/"
        dtype = "" if self.dtype == "auto" else f":{self.dtype}"
        settings = "".join(
            f"+{one.name}={_written(getattr(self, one.name))}"
            for one in fields(self)
            if one.name in _KEYS and getattr(self, one.name) != one.default
        )
        return f"{engine}{self.device}{dtype}{settings}{'' if self.model is None else f'@{self.model}'}"

    def load(
        self,
        model: str,
        *,
        source: str | None = None,
        offline: bool = False,
        recipe: Recipe | None = None,
        progress: Progress | None = None,
    ) -> ASRModel:
        """The model of this side, `model` unless it names its own; with `recipe` instead of the side's.

        Raises:
            VoxportError: as `voxport.load_model`.
        """
        from voxport.models import hub, load_model

        name = self.model or model
        if self.engine == "voxport":
            return load_model(
                name,
                self.device,
                self.dtype,
                source=source,
                offline=offline,
                threads=self.threads,
                precision=self.precision,  # type: ignore[arg-type]
                graph=self.graph,
                recipe=recipe or self.recipe,
                progress=progress,
            )
        from voxport.models import model_family
        from voxport.models.reference import load_reference

        device = get_device(self.device)
        folder = hub.resolve(name, source=source, offline=offline, progress=progress).path
        import_torch()
        set_threads(self.threads)
        dtype = device.default_dtype(model_family(folder)) if self.dtype == "auto" else self.dtype
        device.check_dtype(dtype)
        device.set_precision(self.precision)  # type: ignore[arg-type]
        return load_reference(folder, device, dtype, attention=self.attention or "eager", name=name)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, the process has this side's number of threads; behind it, the number it had."""
        torch = import_torch()
        before = torch.get_num_threads()
        try:
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            yield
        finally:
            torch.set_num_threads(before)


def default_reference() -> tuple[Side, str | None]:
    """The published implementation on the CPU in float32; where it is not installed ours, and then what to tell."""
    from voxport.models.reference.published import import_transformers

    import_torch()  # before transformers does, which would load backends that may not be loadable
    try:
        import_transformers((4, 57))
    except MissingDependencyError as error:
        return Side.parse("cpu:float32"), (
            f"no published implementation to compare with ({error.message}): the reference is voxport's own on the "
            "CPU, and what is wrong in both is not seen"
        )
    return Side.parse("transformers/cpu:float32"), None


def _count(key: str, value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", value):
        raise UsageError(f"{key} must be a number from 1 on, not {value!r}")
    return int(value)


def _one_of(*values: str) -> Callable[[str, str], str]:
    def choose(key: str, value: str) -> str:
        if value not in values:
            raise UsageError(f"{key} must be one of {', '.join(values)}, not {value!r}")
        return value

    return choose


def _yes_or_no(key: str, value: str) -> bool:
    return _one_of("yes", "no")(key, value) == "yes"


def _text(key: str, value: str) -> str:
    return value


def _written(value: object) -> str:
    return "yes" if value is True else str(value)


_KEYS: dict[str, Callable[[str, str], Any]] = {
    "batch": _count,
    "threads": _count,
    "attention": _one_of("eager", "sdpa"),
    "precision": _one_of(*PRECISIONS),
    "graph": _yes_or_no,
    "recipe": _text,
}
