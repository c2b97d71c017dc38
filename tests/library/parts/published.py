"""Published architectures that are in no library, rewritten small, with the part of every decisive weight written by hand.

`PUBLISHED` has of each a factory of the network and its inputs, and its labels in the form of
`idinit_suite.coverage.expert_labels.LABELS`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from published_images import (
    AddingUNet,
    AttentionUNet,
    Diffusion,
    Generator,
    Pyramid,
    SpadeGenerator,
    SpatialTransformer,
)
from published_sequences import (
    GCNII,
    RWKV,
    Adapters,
    Evoformer,
    LatentAttention,
    NBeats,
    Retention,
    Sequence,
    SharedExperts,
    SlotAttention,
)
from torch import Tensor, nn
from torch.nn import functional as F


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class WaveNet(nn.Module):
    """van den Oord et al. 2016; one convolution, or two, make what is added to the input and what is added to the output."""

    def __init__(self, is_packed: bool = True, c: int = 8) -> None:
        super().__init__()
        self.start, self.end = nn.Conv1d(1, c, 1), nn.Sequential(nn.ReLU(), nn.Conv1d(c, c, 1), nn.ReLU(), nn.Conv1d(c, 3, 1))
        self.dilated = nn.ModuleList(nn.Conv1d(c, 2 * c, 3, padding=2**i, dilation=2**i) for i in range(3))
        self.out = nn.ModuleList(nn.Conv1d(c, 2 * c if is_packed else c, 1) for _ in range(3))
        self.skip = nn.ModuleList(() if is_packed else (nn.Conv1d(c, c, 1) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.start(x), []
        for i, dilated in enumerate(self.dilated):
            a, b = dilated(x).chunk(2, 1)
            z = a.tanh() * b.sigmoid()
            added, skip = (self.out[i](z), self.skip[i](z)) if len(self.skip) else self.out[i](z).chunk(2, 1)
            x = x + added
            skips.append(skip)
        return self.end(sum(skips))


class Dueling(nn.Module):
    """A dueling Q-network (Wang et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.value = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
        self.advantage = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        value, advantage = self.value(h), self.advantage(h)
        return value + advantage - advantage.mean(-1, keepdim=True)


class WideDeep(nn.Module):
    """Wide & deep learning (Cheng et al. 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.deep = nn.Linear(10, 1), nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(x) + self.deep(x)


class LSTM(nn.Module):
    """A hand-written LSTM, one weight on input and state, or one for each."""

    def __init__(self, is_joint: bool = True) -> None:
        super().__init__()
        self.x, self.h, self.head = nn.Linear(4 + 8 * is_joint, 32), nn.Linear(8, 32, bias=False), nn.Linear(8, 2)
        self.is_joint = is_joint
        if is_joint:
            del self.h

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 8)
        for step in x.unbind(1):
            y = self.x(torch.cat([step, h], -1)) if self.is_joint else self.x(step) + self.h(h)
            i, f, g, o = y.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h)


class GRU(nn.Module):
    """A hand-written GRU with a weight for each gate (Cho et al. 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.reset, self.update, self.new, self.head = (nn.Linear(12, 8), nn.Linear(12, 8), nn.Linear(12, 8), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 8)
        for step in x.unbind(1):
            both = torch.cat([step, h], -1)
            r, z = self.reset(both).sigmoid(), self.update(both).sigmoid()
            h = z * h + (1 - z) * self.new(torch.cat([step, r * h], -1)).tanh()
        return self.head(h)


class Highway(nn.Module):
    """A highway network (Srivastava et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 2)
        self.transform, self.gate = (nn.ModuleList(nn.Linear(8, 8) for _ in range(3)) for _ in range(2))
        for gate in self.gate:
            nn.init.constant_(gate.bias, -2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for transform, gate in zip(self.transform, self.gate, strict=True):
            t = gate(x).sigmoid()
            x = transform(x).relu() * t + x * (1 - t)
        return self.head(x)


class DeepFM(nn.Module):
    """Three outputs are added: of each feature, of pairs of features, of a perceptron (Guo et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.embed = nn.Embedding(50, 1), nn.Embedding(50, 8)
        self.deep = nn.Sequential(nn.Linear(40, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        e = self.embed(x)
        pairs = 0.5 * (e.sum(1) ** 2 - (e**2).sum(1)).sum(1, keepdim=True)
        return (self.linear(x).sum(1) + pairs + self.deep(e.flatten(1))).sigmoid()


class DiT(nn.Module):
    """A diffusion transformer with adaLN-Zero (Peebles & Xie 2023), without attention's heads."""

    def __init__(self, depth: int = 2, c: int = 16, is_zeroed: bool = False) -> None:
        super().__init__()
        self.patch, self.time, self.head = (
            nn.Linear(6, c),
            nn.Sequential(nn.Linear(4, c), nn.SiLU(), nn.Linear(c, c)),
            nn.Linear(c, 6),
        )
        self.norm = nn.LayerNorm(c, elementwise_affine=False)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                dict(
                    qkv=nn.Linear(c, 3 * c), proj=nn.Linear(c, c), fc1=nn.Linear(c, 2 * c), fc2=nn.Linear(2 * c, c),
                    ada=nn.Linear(c, 6 * c),
                )
            )
            for _ in range(depth)
        )  # fmt: skip
        for block in self.blocks if is_zeroed else ():
            nn.init.zeros_(block["ada"].weight)
            nn.init.zeros_(block["ada"].bias)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        x, c = self.patch(x), self.time(t)
        for block in self.blocks:
            s1, b1, g1, s2, b2, g2 = block["ada"](F.silu(c))[:, None].chunk(6, -1)
            q, k, v = block["qkv"](self.norm(x) * (1 + s1) + b1).chunk(3, -1)
            x = x + g1 * block["proj"](F.scaled_dot_product_attention(q, k, v))
            x = x + g2 * block["fc2"](F.gelu(block["fc1"](self.norm(x) * (1 + s2) + b2)))
        return self.head(self.norm(x))


class GCN(nn.Module):
    """A graph convolutional network (Kipf & Welling 2017), with residual layers or without."""

    def __init__(self, is_residual: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)])
        self.is_residual = is_residual

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        x = (adjacency @ self.layers[0](x)).relu()
        for layer in self.layers[1:-1]:
            y = (adjacency @ layer(x)).relu()
            x = x + y if self.is_residual else y
        return adjacency @ self.layers[-1](x)


class GAT(nn.Module):
    """Graph attention (Velickovic et al. 2018), two layers of one head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 8, bias=False), nn.Linear(8, 3, bias=False)])
        self.target, self.source = (nn.ModuleList(nn.Linear(c, 1) for c in (8, 3)) for _ in range(2))

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        for layer, target, source in zip(self.layers, self.target, self.source, strict=True):
            x = layer(x)
            scores = F.leaky_relu(target(x) + source(x).mT).masked_fill(adjacency == 0, -1e9)
            x = scores.softmax(-1) @ x
        return x


class Flow(nn.Module):
    """Affine couplings (Dinh et al. 2017), which scale half of the features and add to it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = (
            nn.ModuleList(nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(3)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        for scale, shift in zip(self.scale, self.shift, strict=True):
            a, b = x.chunk(2, -1)
            x = torch.cat([b * scale(a).tanh().exp() + shift(a), a], -1)
        return x


class RevNet(nn.Module):
    """A reversible network (Gomez et al. 2017)."""

    def __init__(self, c: int = 8) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 2 * c), nn.Linear(2 * c, 2)
        self.f, self.g = (
            nn.ModuleList(nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, c)) for _ in range(2)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, -1)
        for f, g in zip(self.f, self.g, strict=True):
            a = a + f(b)
            b = b + g(a)
        return self.head(torch.cat([a, b], -1))


class ActorCritic(nn.Module):
    """A policy and a value on one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh())
        self.policy, self.value = nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.policy(h).softmax(-1), self.value(h).squeeze(-1)


_CONDITIONAL = (
    "stem.weight stem; head.weight head; *.conv1.weight branch; *.conv2.weight branch_end; "
    "embed.0.weight stem; embed.2.weight -; "
)
_IMAGES, _SERIES, _TOKENS = (_random(2, 3, 16, 16),), (_random(3, 5, 4),), (torch.arange(10).view(2, 5),)
_SEQUENCE = "embed.* embedding; head.* head; "

PUBLISHED: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...], str]] = {
    "wavenet": (
        WaveNet, (_random(2, 1, 32),),
        "start.* stem; dilated.2.* trunk; dilated.* branch; out.2.* trunk; out.* branch_end; end.1.* trunk; "
        "end.3.* head",
    ),
    "wavenet, skip apart": (
        lambda: WaveNet(is_packed=False),
        (_random(2, 1, 32),),
        "start.* stem; dilated.2.* trunk; dilated.* branch; out.2.* -; out.* branch_end; skip.* trunk; "
        "end.1.* trunk; end.3.* head",
    ),
    "diffusion, time added": (Diffusion, (*_IMAGES, _random(2, 4)), _CONDITIONAL + "*.time.weight branch"),
    "diffusion, FiLM": (lambda: Diffusion(True), (*_IMAGES, _random(2, 4)), _CONDITIONAL + "*.time.weight gate"),
    "feature pyramid": (Pyramid, _IMAGES, "stem.weight stem; down.* trunk; lateral.* trunk; out.* head"),
    "feature pyramid, finest level": (
        lambda: Pyramid(reads_all=False), _IMAGES, "stem.weight stem; down.* trunk; lateral.* trunk; out.* head",
    ),
    "adding U-Net": (AddingUNet, _IMAGES, "stem.weight stem; down.* trunk; up.* trunk; head.weight head"),
    "dueling": (Dueling, (_random(5, 4),), "body.0.* stem; body.2.* trunk; value.0.* trunk; advantage.0.* trunk; * head"),
    "wide & deep": (WideDeep, (_random(5, 10),), "deep.0.weight stem; * head"),
    "LSTM": (LSTM, _SERIES, "x.weight recurrent; head.weight head"),
    "LSTM, two weights": (lambda: LSTM(False), _SERIES, "x.weight recurrent; h.weight recurrent; head.weight head"),
    "GRU": (GRU, _SERIES, "reset.weight gate; update.weight gate; new.weight recurrent; head.weight head"),
    "highway": (
        Highway, (_random(5, 4),), "stem.weight stem; transform.* branch_end; gate.* gate; head.weight head",
    ),
    "spatial transformer": (
        SpatialTransformer, (_random(2, 1, 16, 16),), "*.0.weight stem; locate.* trunk; classify.3.weight head",
    ),
    "modulated": (
        Generator, (*_IMAGES, _random(2, 4)), "stem.weight stem; ?.weight trunk; *.style.weight gate; head.weight head",
    ),
    "attention U-Net": (
        AttentionUNet, _IMAGES, "enc.0.weight stem; head.weight head; enc.* trunk; up.* trunk; dec.* trunk; * gate",
    ),
    "DeepFM": (
        DeepFM, (torch.arange(15).view(3, 5),), "linear.* embedding; embed.* embedding; deep.0.* -; deep.2.weight head",
    ),
    "DiT": (
        DiT, (_random(2, 5, 6), _random(2, 4)),
        "patch.* stem; *.qkv.weight query; *.proj.weight branch_end; *.fc1.weight branch; *.fc2.weight branch_end; "
        "*.ada.weight gate; head.weight head; time.0.* stem; time.2.* -",
    ),
    "GCN": (GCN, (_random(6, 4), _random(6, 6).abs()), "layers.0.* stem; layers.3.* head; layers.* trunk"),
    "GCN, residual": (
        lambda: GCN(True), (_random(6, 4), _random(6, 6).abs()), "layers.0.* stem; layers.3.* head; layers.* branch_end",
    ),
    "GAT": (GAT, (_random(6, 4), torch.ones(6, 6)), "layers.0.* stem; layers.1.* head; * gate"),
    "flow": (
        Flow, (_random(5, 6),), "scale.?.2.* gate; scale.?.0.* -; shift.?.0.* branch; shift.?.2.* branch_end",
    ),
    "SPADE": (
        SpadeGenerator, (_random(2, 4, 16, 16),),
        "stem.* stem; head.* head; *.gamma.* gate; *.learned.conv.* shortcut; *.learned.* shortcut; *.shared.* stem; "
        "*.conv1.* branch; *.beta.* branch; *.conv2.* branch_end",
    ),
    "RevNet": (RevNet, (_random(5, 4),), "stem.* stem; ?.?.0.* branch; ?.?.2.* branch_end; head.* head"),
    "actor-critic": (ActorCritic, (_random(5, 4),), "body.0.* stem; body.2.* trunk; * head"),
    "retention": (
        lambda: Sequence(Retention), _TOKENS, _SEQUENCE + "*.o.* branch_end; *.g.* gate; * branch",
    ),
    "RWKV": (
        lambda: Sequence(RWKV), _TOKENS,
        _SEQUENCE + "*.key.* gate; *.receptance.* gate; *.gate.* gate; *.output.* branch_end; *.narrow.* branch_end; * branch",
    ),
    "latent attention": (
        lambda: Sequence(LatentAttention), _TOKENS,
        _SEQUENCE + "*.q_a.* -; *.kv_a.* -; *.q_b.* query; *.kv_b.* key; *.out.* branch_end",
    ),
    "shared experts": (
        lambda: Sequence(SharedExperts), _TOKENS, _SEQUENCE + "*.router.* gate; *.0.weight branch; *.2.weight branch_end",
    ),
    "Evoformer": (
        Evoformer, (_random(2, 4, 5),),
        "left.* stem; right.* stem; head.* head; *.gate*.weight gate; *.out.* branch_end; *.narrow.* branch_end; * branch",
    ),
    "N-BEATS": (  # of the last block, nothing reads the backcast
        NBeats, (_random(3, 6),), "back.2.* -; inner.2.* -; back.* branch_end; ahead.* head; inner.* branch",
    ),
    "GCNII": (GCNII, (_random(6, 4), _random(6, 6).abs()), "stem.* stem; layers.* branch_end; head.* head"),
    "slot attention": (
        SlotAttention, (_SERIES[0], _random(3, 2, 16)),
        "stem.* stem; q.* query; k.* key; v.* value; cell.* recurrent; widen.* branch; narrow.* branch_end; head.* head",
    ),
    "adapters": (
        lambda: Sequence(Adapters), _TOKENS,
        _SEQUENCE + "*.in_proj_weight query; *.out_proj.weight branch_end; *.narrow.* branch_end; *.up.* branch_end; * branch",
    ),
}  # fmt: skip
