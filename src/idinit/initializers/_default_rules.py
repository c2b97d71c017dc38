"""The rules that every method shares, for parameters that it does not fill itself.

| part                          | rule                                                                                        |
|-------------------------------|---------------------------------------------------------------------------------------------|
| norm                          | nothing is scaled or shifted; running statistics as new                                     |
| bias                          | 0; 1 for the gate by which an LSTM or GRU keeps its state (Jozefowicz et al. 2015)          |
| embedding, position, tokens   | N(0, 0.02), as in GPT-2, BERT and ViT; an embedding's row for padding is 0                  |
| embedding, bare               | N(0, 1), torch's default: neither a norm nor a residual sum follows, as in an LSTM          |
| position, where it is a map   | torch's default                                                                             |
| gate that makes a matrix      | N(0, 1 / (fan-in x fan-in of the matrix)): hyperfan-in (Chang et al. 2020), so that it      |
|                               | keeps the size of what it is multiplied with                                                |
| the rest, and what is frozen  | left alone                                                                                  |

They are the same for all methods, whatever their publications say of these parameters: a choice of ours.
"""

from __future__ import annotations

from math import prod

from torch import Tensor, nn

from ..network import Network, Weight
from ..parts.structure import MAPS, owner_of

EMBEDDING_STD = 0.02


def fill_rest(net: Network) -> None:
    """Applies the shared rules to every parameter that a method has not filled."""
    for weight in net.weights("position"):
        if weight.name in net.rest():
            net.fill_default(weight)
    for weight in net.making():
        if weight.name in net.rest():
            _fill_maker(net, weight)
    for name in net.rest():
        _fill(net, name)
    for path, module in net.model.named_modules():
        reset = getattr(module, "reset_running_stats", None)
        if callable(reset) and not any(f"{path}.{leaf}" in net.kept for leaf in module._parameters):
            reset()


def _fill_maker(net: Network, weight: Weight) -> None:
    fan = net.structure.made[weight.name]
    std = (prod(weight.shape[1:]) * fan) ** -0.5
    note = f"makes matrices of fan-in {fan}"
    net.fill(weight, f"hyperfan-in: N(0, {std:.4g})", lambda w: w.normal_(0, std, generator=net.generator), note)


def zero_head(net: Network, weight: Weight, note: str = "") -> None:
    """Fills a head with 0; those that are multiplied with one another would stay 0, and have torch's default."""
    if weight.name in net.structure.multiplied:
        net.fill_default(weight, "ours: multiplied with what another head makes, it would stay 0")
    else:
        net.fill(weight, "0", nn.init.zeros_, note)


def open_branches(net: Network) -> None:
    """Resets the scales of residual branches (LayerScale and the like) to 1: near zero, a branch must not be damped twice.

    Two factors near zero in a row, a last weight and a LayerScale of 1e-6, learn only from each other.
    """
    for name in dict.fromkeys(name for branch in net.branches for name in branch.scales):
        neutralize(net, name, "the last weight keeps its branch silent")


def neutral(net: Network, name: str) -> float | None:
    """The value at which a scale or a shift changes nothing; None where that is not known."""
    by_name = 0.0 if name.rpartition(".")[2] in ("bias", "beta", "shift") else 1.0
    return net.structure.neutral.get(name, by_name)


def neutralize(net: Network, name: str, note: str = "") -> None:
    """Gives a scale or a shift the value at which it changes nothing."""
    value = neutral(net, name)
    if value is None:
        return net.leave(name, "the value at which it changes nothing is not known")
    net.fill(name, f"{value:g}", lambda w: w.fill_(value), note)


def _fill(net: Network, name: str) -> None:
    part, layouts = net.structure.parts.get(name), net.layouts
    if part is None:
        net.leave(name, net.structure.unknown.get(name, "its part is not known"))
    elif part == "norm":
        neutralize(net, name)
    elif part == "bias":
        _fill_bias(net, name)
    elif part in ("embedding", "position") or part in MAPS and name not in layouts:
        fill_table(net, name, 1.0 if name in net.structure.bare else EMBEDDING_STD)
    elif part in MAPS and layouts[name] is None:
        net.leave(name, "which of its dimensions are outputs is not known")
    else:
        net.leave(name, f"{net.method} has no rule for the part '{part}'")


def _fill_bias(net: Network, name: str) -> None:
    keeper = net.structure.keepers.get(name)
    if keeper is None:
        net.fill(name, "0", nn.init.zeros_)
        return

    def fill(bias: Tensor) -> None:
        bias.zero_()[keeper.start : keeper.stop] = 1

    net.fill(name, "0; 1 for the gate that keeps the state", fill)


def fill_table(net: Network, name: str, std: float = EMBEDDING_STD) -> None:
    """Fills a table of tokens or positions with N(0, std), and its row for padding, if any, with 0."""
    padding = getattr(net.model.get_submodule(owner_of(name)), "padding_idx", None)

    def fill(table: Tensor) -> None:
        table.normal_(0, std, generator=net.generator)
        if padding is not None:
            table[padding] = 0

    net.fill(name, f"N(0, {std:.4g})", fill, "" if padding is None else f"row {padding}, for padding, is 0")
