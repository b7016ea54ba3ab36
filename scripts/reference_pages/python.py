"""python.md: the public names with signatures and docstrings.

Signatures are written out from their parameters, since Python's own rendering differs between its versions.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import voxport
from reference_pages.markup import described, generated
from voxport.models import ASRModel
from voxport.pipeline import PipelineOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = f"""\
# Python

{generated("the docstrings")}

What `import voxport` gives. It loads no torch; the first model does. Beside it there are [errors](errors.md),
`voxport.testing` ([the simulated NPU](../guides/simulated-npu.md)), `voxport.compat`
([CUDA scripts](../guides/cuda-as-npu.md)), `voxport.score` and `voxport.text` ([scoring](../guides/score.md)).
"""

ELSEWHERE = """\
## What these take and give

`load_model` returns a `voxport.models.ASRModel`; the options of `transcribe` are the fields of
`voxport.pipeline.PipelineOptions`.
"""


def page() -> str:
    """The whole page."""
    things = {name: getattr(voxport, name) for name in voxport.__all__}
    functions = {name: thing for name, thing in things.items() if inspect.isfunction(thing)}
    classes = {name: thing for name, thing in things.items() if inspect.isclass(thing)}
    lines = [INTRODUCTION, "## Functions", ""]
    for name, function in functions.items():
        lines += [f"### `voxport.{name}`", "", *_code(_signature(name, function)), *described(function)]
    lines += ["## Classes", ""]
    for name, kind in classes.items():
        lines += _class(f"voxport.{name}", kind)
    lines += [ELSEWHERE]
    for name, kind in (("voxport.pipeline.PipelineOptions", PipelineOptions), ("voxport.models.ASRModel", ASRModel)):
        lines += _class(name, kind)
    lines += ["## Constants", "", "`voxport.__version__` is the version, a string."]
    left = things.keys() - functions.keys() - classes.keys() - {"__version__"}
    if left:
        raise ValueError(f"no place for {sorted(left)}")
    return "\n".join(lines) + "\n"


def _class(name: str, kind: type) -> Iterator[str]:
    yield f"### `{name}`"
    yield ""
    if dataclasses.is_dataclass(kind):
        yield from _code("\n".join(_field(field) for field in dataclasses.fields(kind)))
    yield from described(kind)
    for member, value in vars(kind).items():
        thing = value.fget if isinstance(value, property) else value
        if member.startswith("_") or not inspect.isfunction(thing) or not inspect.getdoc(thing):
            continue
        yield f"#### `{member}`"
        yield ""
        if not isinstance(value, property):
            yield from _code(_signature(member, thing))
        yield from described(thing)


def _field(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"{field.name}: {_annotation(field.type)} = {_value(field.default)}"
    if field.default_factory is not dataclasses.MISSING:
        return f"{field.name}: {_annotation(field.type)} = {_value(field.default_factory())}"
    return f"{field.name}: {_annotation(field.type)}"


def _signature(name: str, function: Any) -> str:
    """One line, or a line for each parameter where that is too long."""
    signature = inspect.signature(function)
    parts, keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
        keyword_only = keyword_only or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        parts.append(f"{stars}{parameter.name}: {_annotation(parameter.annotation)}{default}")
    back = f" -> {_annotation(signature.return_annotation)}"
    line = f"{name}({', '.join(parts)}){back}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){back}"


def _annotation(annotation: Any) -> str:
    """As it is written in the source, where annotations are strings; the compiler put other quotes into it."""
    if not isinstance(annotation, str):
        raise TypeError(f"{annotation!r} is not written out")
    return annotation.replace("'", '"')


def _value(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _code(text: str) -> list[str]:
    return ["```python", text, "```", ""]
