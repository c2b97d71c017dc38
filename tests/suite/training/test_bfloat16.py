"""Products of bfloat16 with and without a processor that computes in it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from idinit_suite.config import check, compose
from idinit_suite.training.bfloat16 import RoundedProducts
from idinit_suite.training.precision import autocast, compile_options

CPU = torch.device("cpu")
BF16 = check(compose(["model=mlp", "data=digits", "train.precision=bf16", "impl.device=cpu"]))
PRODUCTS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "conv1d": (F.conv1d, ((2, 8, 9), (6, 8, 3), (6,))),
    "conv2d": (F.conv2d, ((2, 8, 9, 9), (6, 8, 3, 3), (6,))),
    "conv3d": (F.conv3d, ((2, 4, 5, 5, 5), (6, 4, 3, 3, 3), (6,))),
    "linear": (F.linear, ((4, 32), (16, 32), (16,))),
    "matmul": (torch.matmul, ((3, 4, 32), (32, 5))),
    "@": (lambda a, b: a @ b, ((3, 4, 32), (3, 32, 5))),
    "Tensor.matmul": (lambda a, b: a.matmul(b), ((4, 32), (32, 5))),
    "mm": (torch.mm, ((4, 32), (32, 5))),
    "bmm": (torch.bmm, ((3, 4, 32), (3, 32, 5))),
    "addmm": (torch.addmm, ((4, 5), (4, 32), (32, 5))),
    "baddbmm": (torch.baddbmm, ((3, 4, 5), (3, 4, 32), (3, 32, 5))),
}


def draw(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def results(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """The value of a function and its gradients where that of the value is its number in bfloat16."""
    value = function(*tensors)
    gradient = torch.arange(value.numel()).view_as(value).sin().bfloat16().to(value.dtype)
    return [value, *torch.autograd.grad(value, tensors, gradient)]


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_of_rounded_values_are_those_of_bfloat16(name: str) -> None:
    function, shapes = PRODUCTS[name]
    tensors = draw(*shapes)
    exact = results(function, [tensor.detach().bfloat16().double().requires_grad_() for tensor in tensors])
    with torch.autocast("cpu", torch.bfloat16), RoundedProducts():
        rounded = results(function, tensors)
    with torch.autocast("cpu", torch.bfloat16):
        native = results(function, tensors)
    for ours, torchs, true in zip(rounded, native, exact, strict=True):
        assert ours.dtype == torchs.dtype
        assert (ours.bfloat16() == true.bfloat16()).double().mean() > 0.98  # of a tie, the order of additions decides
        torch.testing.assert_close(ours.double(), true, rtol=2**-7, atol=1e-4)


def test_nothing_is_rounded_without_autocast() -> None:
    weight, inputs = draw((6, 8), (4, 8))
    with RoundedProducts():
        assert F.linear(inputs, weight).equal(inputs @ weight.T)


@pytest.mark.parametrize("units", [True, False])
def test_products_are_rounded_where_the_processor_has_no_units(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idinit_suite.training.precision.has_bfloat16_units", lambda: units)
    inputs, weight = draw((2, 8), (4, 8))
    with autocast(BF16, CPU):
        outputs = F.linear(inputs, weight)
    assert outputs.dtype == torch.bfloat16
    assert (type(outputs.grad_fn).__name__ == "ToCopyBackward0") is not units  # rounded last, or a product of bfloat16


def test_a_compiled_network_keeps_the_roundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idinit_suite.training.precision.has_bfloat16_units", lambda: False)
    inputs, first, second = draw((16, 32), (32, 32), (32, 32))

    def network(inputs: Tensor, first: Tensor, second: Tensor) -> Tensor:
        return F.linear(F.linear(inputs, first).relu() + 1, second)

    compiled = torch.compile(network, options=compile_options(BF16, CPU))
    with autocast(BF16, CPU):
        eager, fast = (results(function, [inputs, first, second]) for function in (network, compiled))
    for one, two in zip(eager, fast, strict=True):
        assert one.equal(two)
