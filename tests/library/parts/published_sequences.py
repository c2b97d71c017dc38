"""Published networks of sequences, graphs and tables that are in no library, rewritten small; `published` has their labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (2, -1)).transpose(-2, -3)


class Sequence(nn.Module):
    """An embedding, three blocks, a head."""

    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 16), nn.Linear(16, 11)
        self.blocks = nn.ModuleList(block() for _ in range(3))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Retention(nn.Module):
    """Attention without a softmax, decaying over time (RetNet, Sun et al. 2023)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.group = nn.LayerNorm(16), nn.GroupNorm(2, 16, affine=False)
        self.q, self.k, self.v, self.g, self.o = (nn.Linear(16, 16, bias=False) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        h, time = self.norm(x), torch.arange(x.shape[1])
        decay = (0.9 ** (time[:, None] - time)).tril()
        y = (_heads(self.q(h)) @ _heads(self.k(h)).transpose(-1, -2) * decay) @ _heads(self.v(h))
        y = self.group(y.transpose(1, 2).reshape(-1, 16)).view_as(x)
        return x + self.o(F.silu(self.g(h)) * y)


class RWKV(nn.Module):
    """Time mixing by exponential weights, written step by step, and channel mixing (Peng et al. 2023)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.decay, self.first = nn.Parameter(torch.linspace(-5, 3, 16)), nn.Parameter(torch.full((16,), -1.2))
        self.key, self.value, self.receptance, self.output = (nn.Linear(16, 16, bias=False) for _ in range(4))
        self.mix = nn.Parameter(torch.linspace(0, 1, 16))
        self.wide, self.narrow, self.gate = nn.Linear(16, 64), nn.Linear(64, 16), nn.Linear(16, 16)

    def _shifted(self, x: Tensor) -> Tensor:
        return x * self.mix + F.pad(x, (0, 0, 1, -1)) * (1 - self.mix)

    def _mixed(self, x: Tensor) -> Tensor:
        k, v, w = self.key(x), self.value(x), (-self.decay.exp()).exp()
        above = below = torch.zeros_like(k[:, 0])
        steps = []
        for t in range(x.shape[1]):
            e, bonus = k[:, t].exp(), (self.first + k[:, t]).exp()
            steps.append((above + bonus * v[:, t]) / (below + bonus))
            above, below = w * above + e * v[:, t], w * below + e
        return self.output(self.receptance(x).sigmoid() * torch.stack(steps, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._mixed(self._shifted(self.norm1(x)))
        h = self._shifted(self.norm2(x))
        return x + self.gate(h).sigmoid() * self.narrow(self.wide(h).relu().square())


class LatentAttention(nn.Module):
    """Queries, keys and values from small latents, a part of the key without (DeepSeek-V2, 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(16)
        self.q_a, self.q_norm, self.q_b = nn.Linear(16, 8), nn.RMSNorm(8), nn.Linear(8, 2 * 12)
        self.kv_a, self.kv_norm, self.kv_b = nn.Linear(16, 8 + 4), nn.RMSNorm(8), nn.Linear(8, 2 * 16)
        self.out = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        latent, rotated = self.kv_a(h).split([8, 4], -1)
        k, v = _heads(self.kv_b(self.kv_norm(latent))).chunk(2, -1)
        k = torch.cat([k, rotated[:, None].cos().expand(-1, 2, -1, -1)], -1)
        y = F.scaled_dot_product_attention(_heads(self.q_b(self.q_norm(self.q_a(h)))), k, v)
        return x + self.out(y.transpose(1, 2).flatten(2))


class SharedExperts(nn.Module):
    """A mixture of the two best experts, and one that all tokens share (DeepSeekMoE, 2024)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.router = nn.LayerNorm(16), nn.Linear(16, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 8), nn.SiLU(), nn.Linear(8, 16)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        weights, chosen = self.router(h).softmax(-1).topk(2)
        y = self.experts[3](h)
        for i, expert in enumerate(self.experts[:3]):
            y = y + expert(h) * (weights * (chosen == i)).sum(-1, keepdim=True)
        return x + y


class TriangleUpdate(nn.Module):
    """One layer on pairs of residues (Evoformer, Jumper et al. 2021): a gated product over triangles, a transition."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner, self.last = nn.LayerNorm(8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.a, self.b, self.gate_a, self.gate_b, self.gate, self.out = (nn.Linear(8, 8) for _ in range(6))
        self.widen, self.narrow = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, z: Tensor) -> Tensor:
        h = self.norm(z)
        a, b = self.gate_a(h).sigmoid() * self.a(h), self.gate_b(h).sigmoid() * self.b(h)
        y = torch.einsum("bikd,bjkd->bijd", a, b)
        z = z + self.gate(h).sigmoid() * self.out(self.inner(y))
        return z + self.narrow(self.widen(self.last(z)).relu())


class Evoformer(nn.Module):
    """Pairs of residues from a sum of two projections, two layers, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 3)
        self.layers = nn.Sequential(TriangleUpdate(), TriangleUpdate())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.left(x)[:, :, None] + self.right(x)[:, None]))


class NBeats(nn.Module):
    """Blocks whose backcast is subtracted from the input and whose forecasts are added up (Oreshkin et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()) for _ in range(3))
        self.back, self.ahead = (nn.ModuleList(nn.Linear(16, size) for _ in range(3)) for size in (6, 2))

    def forward(self, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x), 2)
        for inner, back, ahead in zip(self.inner, self.back, self.ahead, strict=True):
            h = inner(x)
            x, total = x - back(h), total + ahead(h)
        return total


class GCNII(nn.Module):
    """Layers near the identity that see the first features again (Chen et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        self.layers = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(3))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = first = self.stem(x).relu()
        for i, layer in enumerate(self.layers):
            h, beta = 0.9 * (adjacency @ h) + 0.1 * first, math.log(0.5 / (i + 1) + 1)
            h = (beta * layer(h) + (1 - beta) * h).relu()
        return self.head(h)


class SlotAttention(nn.Module):
    """Slots that compete for the inputs, updated by a GRU and a residual perceptron, three times (Locatello et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.cell, self.head = nn.Linear(4, 16), nn.GRUCell(16, 16), nn.Linear(16, 4)
        self.q, self.k, self.v = (nn.Linear(16, 16, bias=False) for _ in range(3))
        self.widen, self.narrow, self.norm = nn.Linear(16, 32), nn.Linear(32, 16), nn.LayerNorm(16)

    def forward(self, x: Tensor, slots: Tensor) -> Tensor:
        x = self.stem(x)
        k, v = self.k(x), self.v(x)
        for _ in range(3):
            scores = (self.q(self.norm(slots)) @ k.transpose(1, 2)).softmax(1)
            read = scores / scores.sum(-1, keepdim=True) @ v
            slots = self.cell(read.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + self.narrow(self.widen(self.norm(slots)).relu())
        return self.head(slots)


class Adapters(nn.Module):
    """A transformer's block whose branches end in residual adapters (Houlsby et al. 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.attend, self.norm1, self.norm2 = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16), nn.LayerNorm(16)
        self.widen, self.narrow = nn.Linear(16, 32), nn.Linear(32, 16)
        self.down, self.up = (nn.ModuleList(nn.Linear(*size) for _ in range(2)) for size in ((16, 4), (4, 16)))

    def _adapted(self, y: Tensor, i: int) -> Tensor:
        return y + self.up[i](F.gelu(self.down[i](y)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self._adapted(self.attend(x, x, x, need_weights=False)[0], 0))
        return self.norm2(x + self._adapted(self.narrow(F.gelu(self.widen(x))), 1))
