"""Maps whose outputs are made positive before they multiply: log-variances, the scales of couplings, step sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import rows, weights
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from idinit import initialize_
from idinit.network.chosen import find_chosen
from idinit.parts import find_structure

VALUES = torch.rand(3, 12, generator=torch.Generator().manual_seed(0))

SAMPLES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "by hand": lambda mean, size: mean + (0.5 * size).exp() * torch.randn_like(mean),
    "a distribution": lambda mean, size: Normal(mean, size.clamp(-5, 5).exp()).rsample(),
    "softplus": lambda mean, size: mean + (F.softplus(size) + 0.1) * torch.randn_like(mean),
    "none": lambda mean, _: mean,
}


class VAE(nn.Module):
    """A variational autoencoder (Kingma & Welling 2014), with one layer for mean and log-variance, or two."""

    def __init__(self, sample: Callable[[Tensor, Tensor], Tensor], is_packed: bool) -> None:
        super().__init__()
        self.sample, self.is_packed = sample, is_packed
        self.encode, self.mean = nn.Linear(12, 8), nn.Linear(8, 8 if is_packed else 4)
        self.size = None if is_packed else nn.Linear(8, 4)
        self.decode, self.out = nn.Linear(4, 8), nn.Linear(8, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encode(x).relu()
        mean, size = self.mean(h).chunk(2, -1) if self.size is None else (self.mean(h), self.size(h))
        return self.out(self.decode(self.sample(mean, size)).relu()), mean, size


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_log_variance_is_a_head(name: str, is_packed: bool) -> None:
    structure = find_structure(VAE(SAMPLES[name], is_packed), (VALUES,))
    assert structure.parts["mean.weight"] == structure.parts["decode.weight"] == "trunk"
    if not is_packed:
        assert structure.parts["size.weight"] == "head"
    elif name != "none":  # an output whose rows are read by nothing else tells nothing of the others
        assert rows(structure, "mean.weight") == [(0, 0, 4, "trunk"), (0, 4, 8, "head")]


class Coupling(nn.Module):
    """Four couplings, additive or affine (Dinh et al. 2014, 2017); ``is_packed``: one layer makes scale and shift."""

    def __init__(self, is_affine: bool, is_packed: bool = False) -> None:
        super().__init__()
        self.is_affine, self.is_packed = is_affine, is_packed
        sizes = (8, 6, 12 if is_packed else 6)
        self.shift, self.scale = (
            nn.ModuleList(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(*sizes[::2])) for _ in range(4)) for _ in range(2)
        )
        if is_packed or not is_affine:
            self.scale = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        for i, make in enumerate(self.shift):
            a, b = x.chunk(2, -1)
            if self.is_packed:
                scale, shift = make(a).chunk(2, -1)
                b = b * scale.exp() + shift
            else:
                b = b * self.scale[i](a).exp() + make(a) if self.is_affine else b + make(a)
            x = torch.cat([b, a], -1)
        return x


@pytest.mark.parametrize("kind", ["additive", "affine", "packed"])
def test_couplings_that_are_equal_have_equal_parts(kind: str) -> None:
    structure = find_structure(Coupling(kind != "additive", kind == "packed"), (VALUES,))
    found = weights(structure)
    assert len(structure.branches) == 4
    for i in range(4):
        assert (found[f"shift.{i}.0.weight"], found[f"shift.{i}.2.weight"]) == ("branch", "branch_end")
        if kind == "affine":
            assert found[f"scale.{i}.2.weight"] == "head"
        if kind == "packed":
            assert rows(structure, f"shift.{i}.2.weight") == [(0, 0, 6, "head"), (0, 6, 12, "branch_end")]


@pytest.mark.parametrize("method", ["idinit", "fixup", "kaiming"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_couplings_do_not_explode(method: str, is_packed: bool) -> None:
    model = Coupling(True, is_packed)
    initialize_(model, method, (VALUES,))
    out = model(VALUES)
    if method == "fixup":  # as Glow's (Kingma & Dhariwal 2018), each coupling starts as the identity
        assert torch.allclose(out, VALUES, atol=1e-6)
    assert out.pow(2).mean().sqrt() < 50


Scan = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
SCANS: dict[str, Scan] = {
    "products": lambda dt, a, b, u: ((dt[..., None] * a).exp(), dt[..., None] * b[:, :, None] * u[..., None]),
    "Einstein sums": lambda dt, a, b, u: (
        torch.einsum("bld,dn->bldn", dt, a).exp(), torch.einsum("bld,bln,bld->bldn", dt, b, u),
    ),
}  # fmt: skip


class Selective(nn.Module):
    """A selective state space model (Gu & Dao 2023), without its gate."""

    def __init__(self, scan: Scan) -> None:
        super().__init__()
        self.scan, self.a = scan, nn.Parameter(torch.arange(1, 4).float().repeat(12, 1).log())
        self.into, self.select, self.step, self.out = nn.Linear(6, 12), nn.Linear(12, 8), nn.Linear(2, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        u = self.into(x)
        step, b, c = self.select(u).split([2, 3, 3], -1)
        keep, new = self.scan(F.softplus(self.step(step)), -self.a.exp(), b, u)
        h, outputs = x.new_zeros(len(x), 12, 3), []
        for t in range(x.shape[1]):
            h = keep[:, t] * h + new[:, t]
            outputs.append(torch.einsum("bdn,bn->bd", h, c[:, t]))
        return self.out(torch.stack(outputs, 1))


@pytest.mark.parametrize("name", SCANS)
def test_step_sizes_are_gates(name: str) -> None:
    structure = find_structure(Selective(SCANS[name]), (VALUES.view(3, 2, 6),))
    assert (structure.parts["step.weight"], structure.parts["a"]) == ("gate", "scale")


class Activated(nn.Module):
    """Softplus as an activation function, before a layer, within a product as in Mish, and before a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = nn.Linear(12, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.softplus(self.a(x))
        x = self.b(x)
        x = F.softplus(self.c(x * F.softplus(x).tanh()))
        return self.head(x * torch.bernoulli(torch.full_like(x, 0.9)))


def test_an_activation_function_is_no_factor() -> None:
    parts = weights(find_structure(Activated(), (VALUES,)))
    assert parts == {"a.weight": "stem", "b.weight": "trunk", "c.weight": "trunk", "head.weight": "head"}


class Weighted(nn.Module):
    """Means with weights that are exponentiated, as RWKV's (Peng et al. 2023), after all places or at each."""

    def __init__(self, is_running: bool) -> None:
        super().__init__()
        self.stem, self.weigh, self.value, self.head = (nn.Linear(4, 8), *(nn.Linear(8, 8) for _ in range(2)), nn.Linear(8, 2))
        self.is_running = is_running

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        weights, values = self.weigh(x).exp(), self.value(x)
        if not self.is_running:
            return self.head((weights / weights.sum(1, keepdim=True) * values).sum(1))
        above = below = torch.zeros_like(values[:, 0])
        for t in range(x.shape[1]):
            above, below = 0.9 * above + weights[:, t] * values[:, t], 0.9 * below + weights[:, t]
        return self.head(above / below)


@pytest.mark.parametrize("is_running", [False, True])
def test_the_weights_of_a_mean_are_gates(is_running: bool) -> None:
    parts = weights(find_structure(Weighted(is_running), (VALUES.view(3, 3, 4),)))
    assert parts == {"stem.weight": "stem", "weigh.weight": "gate", "value.weight": "trunk", "head.weight": "head"}


class Glow(nn.Module):
    """Affine couplings as in Glow's code: a last layer of zeros, a learned factor, every second channel a scale."""

    def __init__(self, is_interleaved: bool, is_bounded: bool) -> None:
        super().__init__()
        self.is_interleaved, self.is_bounded = is_interleaved, is_bounded
        self.mix = nn.ModuleList(nn.Conv2d(12, 12, 1) for _ in range(3))
        self.first = nn.ModuleList(nn.Conv2d(6, 8, 3, padding=1) for _ in range(3))
        self.last = nn.ModuleList(nn.Conv2d(8, 12, 3, padding=1) for _ in range(3))
        self.logs = nn.ParameterList(torch.zeros(12, 1, 1) for _ in range(3))
        for last in self.last:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = torch.zeros(len(x))
        for mix, first, last, logs in zip(self.mix, self.first, self.last, self.logs, strict=True):
            a, b = mix(x).chunk(2, 1)
            h = last(first(a).relu()) * torch.exp(3 * logs)
            shift, scale = (h[:, ::2], h[:, 1::2]) if self.is_interleaved else h.chunk(2, 1)
            scale = torch.sigmoid(scale + 2) if self.is_bounded else scale.exp()
            x = torch.cat([a, (b + shift) * scale], 1)
            log_det = log_det + scale.log().flatten(1).sum(1)
        return x, log_det


@pytest.mark.parametrize("is_bounded", [True, False])
@pytest.mark.parametrize("is_interleaved", [True, False])
def test_rows_that_are_scaled_and_interleaved(is_interleaved: bool, is_bounded: bool) -> None:
    model = Glow(is_interleaved, is_bounded)
    structure = find_structure(model, (torch.randn(2, 12, 4, 4),))
    scale = "gate" if is_bounded else "head"
    order = ["branch_end", scale] * 6 if is_interleaved else ["branch_end"] * 6 + [scale] * 6
    for i in range(3):
        pieces = rows(structure, f"last.{i}.weight")
        assert [part for _, start, stop, part in pieces for _ in range(start, stop)] == order
        assert structure.parts[f"first.{i}.weight"] == "branch"
    assert ("last.0.weight" in find_chosen(model, structure)) == is_bounded
