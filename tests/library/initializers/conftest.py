"""Small networks with their parts written down by hand."""

from typing import NamedTuple

import pytest
import torch
from plain_networks import Residual, convolutions, mlp, residual_mlp, resnet
from torch import Tensor, nn

from idinit.initializers import INITIALIZERS
from idinit.parts import Branch, Slice, Structure
from idinit.parts.heads import Heads


class Case(NamedTuple):
    """A network, its structure by hand, and a batch."""

    model: nn.Module
    structure: Structure
    x: Tensor


WIDTH, HEADS, LAYERS = 16, 2, 2


class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values: [N, T, WIDTH] -> the same."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        heads = self.qkv(x).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """x + attention(x), then x + fc2 relu fc1 x; with a norm before each branch, after each sum, or nowhere."""

    def __init__(self, norm):
        super().__init__()
        self.is_after = norm == "after"
        make = nn.Identity if norm is None else lambda: nn.LayerNorm(WIDTH)
        self.norm1, self.attention = make(), Attention()
        self.norm2, self.mlp = make(), nn.Sequential(nn.Linear(WIDTH, 24), nn.ReLU(), nn.Linear(24, WIDTH))

    def forward(self, x):
        if self.is_after:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.mlp(x))
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """An encoder of an image's rows: [N, 3, 16, 16] -> [N, 5]."""

    def __init__(self, norm):
        super().__init__()
        self.stem, self.head = nn.Linear(64, WIDTH), nn.Linear(WIDTH, 5)
        self.layers = nn.Sequential(*(Layer(norm) for _ in range(LAYERS)))

    def forward(self, x):
        return self.head(self.layers(self.stem(x.reshape(-1, 12, 64))).mean(1))


class Siren(nn.Module):
    """A perceptron of sines over an image's pixels: [N, 3, 16, 16] -> [N, 5]."""

    def __init__(self):
        super().__init__()
        self.stem, self.trunk, self.head = nn.Linear(768, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x):
        return self.head(torch.sin(30 * self.trunk(torch.sin(30 * self.stem(x.flatten(1))))))


TRANSFORMERS = {"transformer": "before", "transformer-post-norm": "after", "transformer-plain": None}
KINDS = {
    "resnet": (resnet, dict(depth=14, width=4)),
    "resnet-projection": (resnet, dict(depth=8, width=4, shortcut="projection")),
    "resnet-norm": (resnet, dict(depth=8, width=4, norm="batch", shortcut="projection")),
    "residual-mlp": (residual_mlp, dict(blocks=3, width=12)),
    "mlp": (mlp, dict(depth=4, width=48)),
    "allconv": (convolutions, dict(width=16)),
}


def _part(kind: str, name: str) -> str:
    module, _, leaf = name.rpartition(".")
    last = module.rpartition(".")[2]
    if "norm" in last:
        return "norm"
    if leaf == "bias":
        return "bias"
    if ".shortcut." in name:
        return "shortcut"
    if ".branch." in name or last in ("qkv", "proj") or ".mlp." in name:
        end = last in ("conv2", "linear2", "proj") or name.endswith("mlp.2.weight")
        return "query" if last == "qkv" else "branch_end" if end else "branch"
    if last in ("stem", {"mlp": "linear1", "allconv": "conv1"}.get(kind)):
        return "stem"
    return "head" if last in ("head", "conv9") else "trunk"


def _branches(model: nn.Module) -> tuple[Branch, ...]:
    branches = []
    for name, module in model.named_modules():
        if isinstance(module, Residual) and hasattr(module.branch, "conv1"):
            changes_shape = not isinstance(module.shortcut, nn.Identity)
            has_norm = not isinstance(module.branch.norm2, nn.Identity)
            branches.append(
                Branch(
                    (f"{name}.branch.conv1.weight", f"{name}.branch.conv2.weight"),
                    f"{name}.branch",
                    f"{name}.shortcut" if changes_shape else None,
                    f"{name}.branch.norm2" if has_norm else None,
                )
            )
        elif isinstance(module, Residual):
            branches.append(Branch((f"{name}.branch.linear1.weight", f"{name}.branch.linear2.weight"), f"{name}.branch"))
        elif isinstance(module, Layer):
            norms = (f"{name}.norm1", f"{name}.norm2") if module.is_after else (None, None)
            weights = (f"{name}.attention.qkv.weight", f"{name}.attention.proj.weight")
            branches.append(Branch(weights, f"{name}.attention", sum_norm=norms[0]))
            weights = (f"{name}.mlp.0.weight", f"{name}.mlp.2.weight")
            branches.append(Branch(weights, f"{name}.mlp", sum_norm=norms[1]))
    return tuple(branches)


def _structure(kind: str, model: nn.Module) -> Structure:
    parts = {name: _part(kind, name) for name, _ in model.named_parameters()}
    packed = [name for name in parts if name.endswith("qkv.weight")]
    thirds = tuple(Slice(0, i * WIDTH, (i + 1) * WIDTH, part) for i, part in enumerate(("query", "key", "value")))
    heads = tuple(Heads(name, name, name, name.replace("qkv", "proj"), WIDTH // HEADS) for name in packed)
    return Structure(parts, _branches(model), slices=dict.fromkeys(packed, thirds), heads=heads)


def _build(kind: str) -> Case:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, 16, 16, generator=generator)
    if kind == "siren":
        model: nn.Module = Siren()
    elif kind in TRANSFORMERS:
        model = Transformer(TRANSFORMERS[kind])
    else:
        make, options = KINDS[kind]
        model = make((3, 16, 16), 5, **options)
    return Case(model, _structure(kind, model), x)


def _kinds_for(method: str) -> list[str]:
    needs = INITIALIZERS[method].info.needs
    kinds = [*KINDS, *TRANSFORMERS]
    if "branches" in needs:
        kinds = [k for k in kinds if k.startswith(("res", "transformer"))]
    if "attention" in needs:
        kinds = [k for k in kinds if k in TRANSFORMERS]
    if "end_norm" in needs:
        kinds = [k for k in kinds if k == "resnet-norm"]
    if "sum_norm" in needs:
        kinds = [k for k in kinds if k == "transformer-post-norm"]
    if "sine" in needs:
        kinds = ["siren"]
    if "no_norm" in needs:
        kinds = [k for k in kinds if k != "transformer" and "norm" not in k]
    return kinds


@pytest.fixture(scope="session")
def build():
    """Builds a `Case` by kind."""
    return _build


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``method`` runs over the registry; with ``kind``, over every network that the method's needs allow."""
    if {"method", "kind"} <= set(metafunc.fixturenames):
        metafunc.parametrize(("method", "kind"), [(m, k) for m in INITIALIZERS for k in _kinds_for(m)])
    elif "method" in metafunc.fixturenames:
        metafunc.parametrize("method", list(INITIALIZERS))


@pytest.fixture
def case(method: str) -> Case:
    """A network that the method's needs allow."""
    return _build(_kinds_for(method)[0])


@pytest.fixture(scope="session")
def transformer():
    """Builds a small transformer with a norm "before" or "after", or None, and a batch."""

    def build(norm: str | None) -> tuple[nn.Module, Tensor]:
        return Transformer(norm), torch.rand(4, 3, 16, 16)

    return build


@pytest.fixture(scope="session")
def deep_transformer():
    """Builds the layers of a pre-norm transformer, and their structure by hand."""

    def build(depth: int) -> tuple[nn.Module, Structure]:
        model = nn.Sequential(*(Layer("before") for _ in range(depth)))
        return model, _structure("transformer", model)

    return build
