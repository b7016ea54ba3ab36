"""Matrix products on the CPU: other ways to the numbers that the plain torch calls give."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from voxport.models import cpu_products
from voxport.models.cpu_products import StepLinear, few_queries_attention, linear

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 96


@pytest.fixture(params=["as it is", "plain torch"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What this processor offers, and what is done where it offers nothing."""
    if request.param == "plain torch":
        monkeypatch.setattr(cpu_products, "_has_mkl", lambda: False)
        monkeypatch.setattr(cpu_products, "_onednn", lambda: None)
    with torch.inference_mode():
        yield


def draw(*shape: int) -> Tensor:
    return torch.empty(shape).normal_(generator=torch.Generator().manual_seed(sum(shape)))


def expected(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None, add: Tensor | None) -> Tensor:
    """In double precision."""
    product = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    product = {"gelu": F.gelu, "silu": F.silu}[activation](product) if activation else product
    return product if add is None else product + add.double()


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("behind", ["nothing", "gelu", "silu", "add"])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("height", [10, 64, 192, 201])
@pytest.mark.parametrize("rows", [(1, 1), (1, 4), (3, 1), (8, 1), (2, 300)])
def test_linear(rows: tuple[int, int], height: int, biased: bool, behind: str) -> None:
    x, weight = draw(*rows, WIDTH), draw(height, WIDTH)
    bias = draw(height) if biased else None
    add = draw(*rows, height) if behind == "add" else None
    activation = behind if behind in ("gelu", "silu") else None
    wanted = expected(x, weight, bias, activation, add)
    before = None if add is None else add.clone()
    for product in (linear, StepLinear(weight, bias)):
        given = (x,) if isinstance(product, StepLinear) else (x, weight, bias)
        found = product(*given, activation=activation, add=add)  # type: ignore[operator]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=5e-5)
    if add is not None:
        assert torch.equal(add, before)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("rows", [1, 5])
def test_half_precision_keeps_its_dtype(rows: int) -> None:
    x, weight, bias = (tensor.bfloat16() for tensor in (draw(rows, 1, WIDTH), draw(64, WIDTH), draw(64)))
    found = StepLinear(weight, bias)(x, activation="gelu")
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), expected(x, weight, bias, "gelu", None), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("height", "few"), [(128, 8), (16_392, 1)])
def test_few_rows_pack_nothing_and_more_pack_once(height: int, few: int) -> None:
    if cpu_products._onednn() is None:
        pytest.skip("this processor's torch packs nothing")
    layer = StepLinear(draw(height, WIDTH))
    layer(draw(few, 1, WIDTH))
    assert layer._packed is None
    layer(draw(few + 1, 1, WIDTH))
    packed = layer._packed
    assert packed is not None
    layer(draw(few + 2, 1, WIDTH))
    assert layer._packed is packed


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize(("batch", "heads", "length", "size"), [(1, 2, 1500, 64), (5, 3, 7, 16)])
def test_few_queries_attention(batch: int, heads: int, length: int, size: int, queries: int) -> None:
    q, k, v = (
        draw(batch, heads, queries, size),
        draw(batch, heads, length, size),
        draw(batch, heads, length, size + 1)[..., 1:],
    )
    wanted = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    found = few_queries_attention(q, k, v)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)
    turned = k.transpose(2, 3).contiguous().transpose(2, 3)
    # As a slice of a longer batch, the way a batch looks that lost rows.
    longer = few_queries_attention(q[:1], turned[:1], v[:1])
    torch.testing.assert_close(longer, found[:1], rtol=0, atol=1e-6)
