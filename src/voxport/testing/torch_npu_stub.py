"""What `import torch_npu` gives while the device is simulated: version, device module, and reference versions of the
fused functions that transformers imports. Installed packages say so too: `importlib.metadata` lists it."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from voxport.testing import npu_api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from os import PathLike

    from torch.fx import GraphModule

NAME = "torch_npu"
TORCHAIR = "torchair"

_DENSE_FORMAT = 2  # ACL_FORMAT_ND
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3  # sparse modes: where the triangle of a causal mask sits


def install() -> None:
    """Make torch_npu importable, as the version that belongs to this torch. Once more changes nothing."""
    if NAME in sys.modules:
        return
    version = f"{torch.__version__.partition('+')[0]}+simulated"
    contrib = _module(f"{NAME}.contrib", {"__path__": []})
    torchair = _module(TORCHAIR, {"CompilerConfig": CompilerConfig, "get_npu_backend": get_npu_backend})
    package = _module(
        NAME,
        {
            "__version__": version,
            "__path__": [],
            "__getattr__": _missing,
            "_autoload": _autoload,
            "npu": npu_api,
            "contrib": contrib,
            "npu_format_cast": npu_format_cast,
            "get_npu_format": get_npu_format,
            "npu_add_layer_norm": npu_add_layer_norm,
            "npu_ffn": npu_ffn,
            "npu_fusion_attention": npu_fusion_attention,
            "npu_rms_norm": npu_rms_norm,
            "npu_rotary_mul": npu_rotary_mul,
        },
    )
    sys.modules.update({NAME: package, f"{NAME}.npu": npu_api, f"{NAME}.contrib": contrib, TORCHAIR: torchair})
    sys.meta_path.append(_Finder(version))


def uninstall() -> None:
    """Make torch_npu what it was. Who has asked for it before may remember the answer, as transformers does."""
    for name in (NAME, f"{NAME}.npu", f"{NAME}.contrib", TORCHAIR):
        sys.modules.pop(name, None)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def _module(name: str, contents: dict[str, Any]) -> ModuleType:
    module = ModuleType(name, f"{name}, simulated by voxport.testing.")
    # What importlib.util.find_spec returns, and with it whoever asks whether the package is installed.
    module.__spec__ = ModuleSpec(name, loader=None, origin="voxport.testing", is_package=True)
    module.__dict__.update(contents)
    return module


def _autoload() -> None:
    """torch's entry point of a real torch_npu that is installed as well: nothing is left to do."""


def _missing(name: str) -> Any:
    raise AttributeError(f"the simulated torch_npu has no {name!r}")


class _Distribution(Distribution):
    def __init__(self, version: str) -> None:
        self._version = version

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            return f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {self._version}\n"
        return f"{NAME}\n" if filename == "top_level.txt" else None

    def locate_file(self, path: str | PathLike[str]) -> Any:
        raise FileNotFoundError(f"the simulated torch_npu has no files: {path}")


class _Finder(DistributionFinder):
    def __init__(self, version: str) -> None:
        self._version = version

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """No modules: the package is loaded already."""

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterable[Distribution]:
        name = None if context is None else context.name
        return [_Distribution(self._version)] if name is None or name.replace("-", "_").lower() == NAME else []


# ---------------------------------------------------------------------------------------------------------- torchair


class CompilerConfig:
    """Takes any setting and heeds none."""

    mode = "max-autotune"


def get_npu_backend(*, compiler_config: CompilerConfig | None = None) -> Callable[[GraphModule, list[Tensor]], Any]:
    """A backend of torch.compile that runs the graph as it is, operation by operation."""

    def run_as_it_is(graph: GraphModule, inputs: list[Tensor]) -> Any:
        return graph.forward

    return run_as_it_is


# --------------------------------------------------------------------------------------------------- fused functions


def npu_format_cast(tensor: Tensor, acl_format: int) -> Tensor:
    """The tensor itself: there is one format here."""
    return tensor


def get_npu_format(tensor: Tensor) -> int:
    return _DENSE_FORMAT


def npu_add_layer_norm(
    x1: Tensor, x2: Tensor, gamma: Tensor, beta: Tensor, epsilon: float = 1e-5, additional_output: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Layer norm of x1 + x2, its mean and reciprocal deviation, and the sum if `additional_output`. One operation."""
    result: tuple[Tensor, Tensor, Tensor, Tensor] = torch.ops.npu.npu_add_layer_norm(
        x1, x2, gamma, beta, epsilon, additional_output
    )
    return result


def npu_ffn(
    x: Tensor,
    weight1: Tensor,
    weight2: Tensor,
    activation: str,
    *,
    bias1: Tensor | None = None,
    bias2: Tensor | None = None,
) -> Tensor:
    """activation(x @ weight1 + bias1) @ weight2 + bias2, float16 or bfloat16. One operation."""
    result: Tensor = torch.ops.npu.npu_ffn(x, weight1, weight2, activation, bias1=bias1, bias2=bias2)
    return result


def npu_rms_norm(self: Tensor, gamma: Tensor, epsilon: float = 1e-6) -> tuple[Tensor, Tensor]:
    """x times its reciprocal root mean square times gamma; and that reciprocal."""
    x = self.float()
    reciprocal = torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    return (x * reciprocal).to(self.dtype) * gamma, reciprocal


def npu_rotary_mul(input: Tensor, r1: Tensor, r2: Tensor, rotary_mode: str = "half") -> Tensor:  # noqa: A002
    """Rotary positions: input * cosine + turned input * sine."""
    if rotary_mode == "half":
        first, second = input.chunk(2, -1)
        turned = torch.cat([-second, first], -1)
    else:
        turned = torch.stack([-input[..., 1::2], input[..., ::2]], -1).flatten(-2)
    return input * r1 + turned * r2


def npu_fusion_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    head_num: int,
    input_layout: str,
    pse: Tensor | None = None,
    padding_mask: Tensor | None = None,
    atten_mask: Tensor | None = None,
    scale: float = 1.0,
    keep_prob: float = 1.0,
    *,
    actual_seq_qlen: Sequence[int] | None = None,
    actual_seq_kvlen: Sequence[int] | None = None,
    sparse_mode: int = 0,
    **_: Any,
) -> tuple[Any, ...]:
    """Attention in torch_npu's layouts; a mask is true where nothing is to be seen. Inference only.

    Returns:
        The result, and what training would want, which is left out.
    """
    if pse is not None or padding_mask is not None or keep_prob != 1.0 or sparse_mode not in (0, 1, 2, 3):
        raise NotImplementedError("the simulated npu_fusion_attention has no pse, padding_mask, dropout, band masks")

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, H, S, D)."""
        seen = None if atten_mask is None else _seen(atten_mask, sparse_mode, q.shape[2], k.shape[2])
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=True)

    if input_layout == "TND":
        assert actual_seq_qlen is not None
        assert actual_seq_kvlen is not None
        parts, q_begin, k_begin = [], 0, 0
        for q_end, k_end in zip(actual_seq_qlen, actual_seq_kvlen, strict=True):
            q, k, v = query[q_begin:q_end], key[k_begin:k_end], value[k_begin:k_end]
            parts.append(attend(*(x.transpose(0, 1)[None] for x in (q, k, v)))[0].transpose(0, 1))
            q_begin, k_begin = q_end, k_end
        result = torch.cat(parts)
    else:
        heads_first = _LAYOUTS[input_layout][0]
        back = _LAYOUTS[input_layout][1]
        result = back(attend(*(heads_first(x, head_num, query) for x in (query, key, value))))
    return (result, None, None, None, 0, 0, 0)


def _split(tensor: Tensor, head_num: int, query: Tensor) -> Tensor:
    """(B, S, heads * D) -> (B, heads, S, D); keys and values may have fewer heads than the query."""
    size = query.shape[-1] // head_num
    heads: Tensor = tensor.view(*tensor.shape[:-1], -1, size)
    return heads.transpose(1, 2)


_LAYOUTS: dict[str, tuple[Any, Any]] = {
    "BNSD": (lambda x, heads, query: x, lambda x: x),
    "BSND": (lambda x, heads, query: x.transpose(1, 2), lambda x: x.transpose(1, 2)),
    "BSH": (_split, lambda x: x.transpose(1, 2).flatten(2)),
    "SBH": (
        lambda x, heads, query: _split(x.transpose(0, 1), heads, query),
        lambda x: x.transpose(1, 2).flatten(2).transpose(0, 1),
    ),
}


def _seen(mask: Tensor, sparse_mode: int, queries: int, keys: int) -> Tensor:
    """True where a key is seen; the compressed masks of the causal modes only name their triangle."""
    if sparse_mode not in (_TOP_LEFT, _BOTTOM_RIGHT):
        return ~mask.bool()
    shift = keys - queries if sparse_mode == _BOTTOM_RIGHT else 0
    return torch.ones(queries, keys, dtype=torch.bool, device=mask.device).tril(shift)
