"""Dynamical isometry of deep networks at initialization (claim C13): all singular values, and the size of signals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Annotated, Any, get_args

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from idinit.diagnostics import jacobian_singular_values, largest_singular_values, signal_sizes
from idinit.errors import UsageError
from idinit.initialize import initialize_
from idinit.parts import Structure, find_structure

from ...seeds import generator
from ..base import STUDIES, Cell, Row, Setting
from ..tools.deep_networks import Activation, Deep, NetworkName, Signs

NEAR = (0.5, 2.0)  # singular values in between count as near 1
SHOWN = 32  # singular values of a network that are kept, evenly spaced, and places at which signals are
CENTRE = "idinit_channel"  # IDInit with the identity on the centre tap of each kernel
_STARTS = (
    *("admin", "conditioned", "deepnorm", "default", "delta_orthogonal", "fixup", "gpt2", "idinit", "kaiming", "mimetic"),
    *("orthogonal", "rezero", "skipinit", "t_fixup", "xavier", "zero", "zero_gamma"),
)
_CHECKED = ("xavier", "orthogonal", "idinit")
_SIGNS: tuple[Signs, ...] = get_args(Signs)
_TAU_SIGNS: tuple[Signs, ...] = ("positive", "both")


@STUDIES.register("isometry")
def isometry(
    setting: Setting,
    *,
    networks: tuple[NetworkName, ...] = get_args(NetworkName),
    activations: tuple[Activation, ...] = get_args(Activation),
    starts: tuple[str, ...] = (*_STARTS, CENTRE),
    depths: tuple[Annotated[int, Field(ge=2)], ...] = (2, 10, 32, 100, 316, 1000),
    deepest_of_others: int = 100,
    taus: tuple[PositiveFloat, ...] = (0.8, 0.9, 0.95, *(1 + i / 50 for i in range(-1, 8)), 1.2, 2**0.5, 2.0),
    tau_depth: Annotated[int, Field(ge=2)] = 32,
    widths: tuple[Annotated[int, Field(ge=8)], ...] = (64, 256, 1024),
    exact_up_to: int = 256,
    seed: int = 0,
) -> Iterator[Cell]:
    """The Jacobian of the blocks of a network at one input, exactly and in float64.

    The stem and the head, of one layer each, are initialized with the rest and left out. Inputs of the blocks are positive;
    at one depth, inputs of both signs and what a ReLU leaves of them are measured beside it.

    Args:
        setting: Where it is computed.
        networks: Kinds of networks.
        activations: Nonlinearities; the first goes to all depths.
        starts: Initializers, and ``idinit_channel``. A method that refuses a network is listed as skipped. LSUV is left out:
            it passes the network once for each of its layers.
        depths: Weight layers that a signal passes in the blocks.
        deepest_of_others: Depth to which the activations but the first go, and at which all singular values are kept and
            the other inputs are measured.
        taus: Values of IDInit's tau, tried for each activation on a perceptron, with inputs of one sign and of both.
        tau_depth: Its depth.
        widths: Of perceptrons of 10 layers, whose largest singular values are found by Lanczos iteration.
        exact_up_to: Width up to which they are compared with the exact ones.
        seed: Of inputs and initial weights.

    Raises:
        UsageError: If no depth is shared by all activations.
    """
    shared = [depth for depth in depths if depth <= deepest_of_others]
    if not shared:
        raise UsageError(f"depths={list(depths)}: the smallest must be at most deepest_of_others={deepest_of_others}")
    structures: dict[tuple[str, int], Structure] = {}

    def spectra(network: NetworkName, activation: Activation) -> Iterator[Row]:
        own_depths, drawn = (depths, (max(shared), max(depths))) if activation == activations[0] else (shared, ())
        for depth in own_depths:
            net = Deep(network, depth, activation).double()
            examples = {signs: net.example(generator(seed, "input"), signs) for signs in _SIGNS}
            example = examples["positive"]
            if (network, depth) not in structures:
                structures[network, depth] = find_structure(net, (example,))
            for start in starts:
                place = {"network": network, "activation": activation, "start": start, "depth": depth}
                options: dict[str, Any] = {"layout": "channel"} if start == CENTRE else {}
                method = "idinit" if start == CENTRE else start
                parts, g = structures[network, depth], generator(seed, "init")
                try:
                    initialize_(net, method, (example,), parts=parts, generator=g, **options)
                except UsageError as reason:
                    if drawn and depth == depths[0]:
                        yield Row("skipped", {"network": network, "start": start, "reason": str(reason)})
                    continue
                placed = {signs: x.to(setting.device) for signs, x in examples.items()}
                yield from _measured(net.to(setting.device), placed, place, drawn)
                net.cpu()

    for activation, network in product(activations, networks):
        yield Cell(f"{network}, {activation}", partial(spectra, network, activation))
    yield Cell("tau", partial(_taus, activations, taus, tau_depth, seed, setting))
    yield Cell("lanczos", partial(_lanczos, widths, exact_up_to, seed, setting))


def _measured(net: Deep, examples: Mapping[Signs, Tensor], place: dict[str, Any], drawn: Sequence[int]) -> Iterator[Row]:
    """Singular values in short; at the first of the drawn depths all of them, and other inputs; at the last signals' sizes."""
    example = examples["positive"]
    values = _singular_values(net, example)
    yield Row("spectra", {**place, **summary(values)})
    if drawn and place["depth"] == drawn[0]:
        for index in range(0, len(values), max(1, len(values) // SHOWN)):
            yield Row("values", {**place, "quantile": 1 - (index + 0.5) / len(values), "value": values[index].item()})
        for signs, other in examples.items():
            found = values if signs == "positive" else _singular_values(net, other)
            yield Row("inputs", {**place, "signs": signs, **summary(found)})
    if drawn and place["depth"] == drawn[-1]:
        blocks = [str(index) for index in range(0, len(net.blocks), max(1, len(net.blocks) // SHOWN))]
        for signal in signal_sizes(net.blocks, (example,), blocks):
            sizes = {"activation_size": signal.activation, "gradient_size": signal.gradient}
            yield Row("signals", {**place, "share": (int(signal.module) + 1) / len(net.blocks), **sizes})


def _singular_values(net: Deep, example: Tensor) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):  # the one kernel that can be differentiated for all outputs at once
        return jacobian_singular_values(net.blocks, example).cpu()


def summary(values: Tensor) -> dict[str, float]:
    """The singular values in short: the extremes, the median, the mean square, and the share near 1; NaN if not finite."""
    low, high = NEAR
    return {
        "lowest": values[-1].item(),
        "median": values.median().item(),
        "highest": values[0].item(),
        "mean_square": values.square().mean().item(),
        "near": ((values >= low) & (values <= high)).double().mean().item() if values.isfinite().all() else torch.nan,
    }


def _taus(activations: Sequence[Activation], taus: Sequence[float], depth: int, seed: int, setting: Setting) -> Iterator[Row]:
    for activation in activations:
        net = Deep("mlp", depth, activation).double()
        structure = find_structure(net, (net.example(generator(seed, "input")),))
        for tau in taus:
            initialize_(net, "idinit", parts=structure, tau=tau)
            for signs in _TAU_SIGNS:
                x = net.example(generator(seed, "input"), signs).to(setting.device)
                values = _singular_values(net.to(setting.device), x)
                place = {"activation": activation, "signs": signs, "tau": tau, "depth": depth}
                yield Row("tau", {**place, **summary(values)})
            net.cpu()


def _lanczos(widths: Sequence[int], exact_up_to: int, seed: int, setting: Setting) -> Iterator[Row]:
    for width, start in product(widths, _CHECKED):
        layers = [layer for _ in range(10) for layer in (nn.Linear(width, width, bias=False), nn.ReLU())]
        net = nn.Sequential(*layers, nn.Linear(width, width, bias=False)).double()
        x = torch.randn(1, width, dtype=torch.float64, generator=generator(seed, "input")).abs()
        initialize_(net, start, (x,), generator=generator(seed, "init"))
        blocks, x = net[:-1].to(setting.device), x.to(setting.device)
        begun = time.perf_counter()
        found = largest_singular_values(blocks, x, 4).tolist()
        place: dict[str, Any] = {"width": width, "start": start, "seconds": time.perf_counter() - begun}
        exact = jacobian_singular_values(blocks, x)[:4].tolist() if width <= exact_up_to else [torch.nan] * 4
        for index, (value, reference) in enumerate(zip(found, exact, strict=True), start=1):
            yield Row("lanczos", {**place, "index": index, "value": value, "relative_error": abs(value / reference - 1)})
