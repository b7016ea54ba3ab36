"""errors.md: the tree of `voxport.errors`, and every code that is raised anywhere in the package."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import voxport.audio
from reference_pages.markup import generated, table
from voxport import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

INTRODUCTION = f"""\
# Errors

{generated("voxport/errors.py, and the `code=` of what is raised")}

Everything that voxport raises on purpose is a `voxport.VoxportError`, from `voxport.errors`. On the command line it is
two lines on standard error, `error:` and `hint:`, and an exit code; in the JSON of a failed input it is the object
`{{"code", "message", "hint"}}`. `message` says what was wrong with the value that was met, `hint` what to do. Messages
may change with any release; **codes don't**.
"""


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            "## Classes",
            "",
            *table(("class", "is a", "code", "exit code", "when"), _classes()),
            "",
            "## More codes",
            "",
            "What is raised with a code of its own, and by which class; [exit codes](cli.md) follow the class.",
            "",
            *table(("code", "class", "when"), _codes()),
            "",
        ]
    )


def _tree() -> list[type[errors.VoxportError]]:
    return [value for value in vars(errors).values() if isinstance(value, type)]


def _classes() -> Iterator[tuple[str, ...]]:
    told = dict(re.findall(r"(?m)[├└]── (\w+) +(.*?)(?: +exit \d)?$", errors.__doc__ or ""))
    for kind in _tree():
        if kind is errors.VoxportError:
            yield "`VoxportError`", "`Exception`", f"`{kind.default_code}`", str(kind.exit_code), "base of all"
            continue
        base = kind.__mro__[1].__name__
        yield f"`{kind.__name__}`", f"`{base}`", f"`{kind.default_code}`", str(kind.exit_code), told[kind.__name__]


def _codes() -> Iterator[tuple[str, ...]]:
    meanings = dict(re.findall(r"(?m)^(audio_\w+) {2,}(.*)$", voxport.audio.__doc__ or "")) | OTHERS
    raised = _raised()
    unknown = sorted(raised.keys() - meanings.keys())
    gone = sorted(meanings.keys() - raised.keys())
    if unknown or gone:
        raise ValueError(f"codes without a meaning: {unknown}; codes that nothing raises: {gone}")
    for code in sorted(raised):
        yield f"`{code}`", ", ".join(f"`{name}`" for name in sorted(raised[code])), meanings[code]


def _raised() -> dict[str, set[str]]:
    """Code -> classes that are raised with it, anywhere in the package."""
    names = {kind.__name__ for kind in _tree()}
    found: dict[str, set[str]] = {}
    for path in sorted(Path(errors.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
                continue
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    found.setdefault(str(keyword.value.value), set()).add(node.func.id)
    return found


OTHERS: dict[str, str] = {
    "alignment_heads": "a model's generation_config.json names alignment heads that its decoder lacks",
    "audio_none": "a folder or a glob without a recording",
    "audio_window": "a window of samples that the model or the speech detector does not take: rate or length",
    "compilation_failed": "the simulated NPU did not compile",
    "directory_not_empty": "a model was to go into a folder that holds something else",
    "disk_full": "there is no room for a download",
    "dtype_unsupported": "the device can't compute in this dtype",
    "graph_unsupported": "the device or the model has no graph mode",
    "home_not_writable": "VOXPORT_HOME, or the folder of what is made there, can't be written",
    "interrupted": "Ctrl-C or SIGTERM; in the JSON of the input that was under way",
    "model_quantised": "weights in a quantised form that can't be converted exactly",
    "no_compiler": "the simulated NPU needs a C++ compiler",
    "no_source": "none of the sources could give the model; the message lists what each said",
    "non_finite": "the model gave values that can't be trusted",
    "not_a_directory": "a model was to go into something that is no folder",
    "out_of_memory": "the device has no memory left",
    "overflow": "a value did not fit into float16, which would have made the words wrong",
    "precision_unsupported": "`--precision strict` needs what this torch_npu lacks",
    "simulator_not_loadable": "the simulated NPU was compiled and can't be loaded",
    "tokenizer_damaged": "the tokenizer's files are damaged, or not what the model needs",
    "tokenizer_missing": "the model has no tokenizer files, and none are published for it",
    "unknown_language": "a language that there is no code for, or that the model does not know",
    "unreachable": "a host doesn't answer",
}
"""Code -> when, of those that are not a recording's."""
