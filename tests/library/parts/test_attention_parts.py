"""Attention: queries, keys and values, apart and side by side; gates, tokens and positions."""

from __future__ import annotations

import pytest
import torch
from networks import FEATURES, IMAGES, TOKENS, Residual, rows, weights
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.parts import Branch, Slice, find_structure


class Attention(nn.Module):
    """Self-attention with one matrix for queries, keys and values, in one of three layouts, with or without its output map."""

    def __init__(self, layout: str, fused: bool) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.proj = nn.Linear(16, 16)
        self.table = nn.Parameter(torch.zeros(1, 2, 5, 5))
        self.layout, self.fused = layout, fused

    def forward(self, x: Tensor) -> Tensor:
        y = self.qkv(x)
        if self.layout == "side by side":
            q, k, v = y.unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        elif self.layout == "chunks":
            q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in y.chunk(3, -1))
        else:
            q, k, v = y.unflatten(-1, (2, 3, 8)).permute(3, 0, 2, 1, 4)
        if self.fused:
            z = F.scaled_dot_product_attention(q, k, v, self.table)
        else:
            z = (q / 8**0.5 @ k.transpose(-1, -2) + self.table).softmax(-1) @ v
        return self.proj(z.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("layout", ["side by side", "chunks", "by head"])
def test_packed_attention(layout: str, fused: bool) -> None:
    structure = find_structure(Residual(nn.LayerNorm(16), Attention(layout, fused)), (FEATURES,))
    assert weights(structure) == {
        "branch.1.table": "position",
        "branch.1.qkv.weight": "query",
        "branch.1.proj.weight": "branch_end",
    }
    names, size = ("query", "key", "value"), 8 if layout == "by head" else 16
    expected = [(0, i * size, (i + 1) * size, names[i % 3]) for i in range(48 // size)]
    assert rows(structure, "branch.1.qkv.weight") == expected
    assert structure.branches == (Branch(("branch.1.qkv.weight", "branch.1.proj.weight"), "branch"),)


def test_the_rows_of_the_values_are_those_that_reach_the_output() -> None:
    block = Attention("by head", fused=True)
    found = find_structure(block, (FEATURES,)).slices["qkv.weight"]
    with torch.no_grad():
        block.qkv.bias.zero_()
        for part in found:
            if part.part == "value":
                block.qkv.weight[part.start : part.stop] = 0
        assert torch.equal(block(FEATURES), block.proj.bias.expand(2, 5, 16))


def test_transformer_modules_of_torch() -> None:
    class Translator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(20, 16), nn.Embedding(5, 16)
            self.transformer = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
            self.head = nn.Linear(16, 20, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, source: Tensor, target: Tensor) -> Tensor:
            place = self.positions(torch.arange(5))
            return self.head(self.transformer(self.tokens(source) + place, self.tokens(target) + place))

    structure = find_structure(Translator(), {"source": TOKENS, "target": TOKENS})
    assert weights(structure) == {
        "tokens.weight": "embedding",
        "positions.weight": "position",
        **{
            f"transformer.{side}.layers.0.{name}": part
            for side in ("encoder", "decoder")
            for name, part in {
                "self_attn.in_proj_weight": "query",
                "self_attn.out_proj.weight": "branch_end",
                "multihead_attn.in_proj_weight": "query",
                "multihead_attn.out_proj.weight": "branch_end",
                "linear1.weight": "branch",
                "linear2.weight": "branch_end",
            }.items()
            if side == "decoder" or not name.startswith("multihead")
        },
    }
    packed = [(0, 0, 16, "query"), (0, 16, 32, "key"), (0, 32, 48, "value")]
    assert rows(structure, "transformer.encoder.layers.0.self_attn.in_proj_weight") == packed
    assert rows(structure, "transformer.decoder.layers.0.multihead_attn.in_proj_weight") == packed
    assert structure.shared == {"tokens.weight": ("head.weight",)}
    assert [b.shortcut for b in structure.branches] == [None] * 5


class Pooling(nn.Module):
    """A learned query looks at all places; talking heads mix its scores."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(16, 2))
        self.heads = nn.Linear(2, 2)
        self.value = nn.Linear(16, 16)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.heads(x @ self.query).transpose(1, 2)
        return self.head((scores.softmax(-1) @ self.value(x)).flatten(1))


def test_learned_queries_and_talking_heads() -> None:
    assert weights(find_structure(nn.Sequential(nn.Linear(16, 16), Pooling()), (FEATURES,))) == {
        "0.weight": "stem",
        "1.query": "query",
        "1.heads.weight": "trunk",
        "1.value.weight": "value",
        "1.head.weight": "head",
    }


class GatedUnit(nn.Module):
    """down(silu(gate(x)) * up(x)), the first two maps side by side or apart."""

    def __init__(self, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        if packed:
            self.both = nn.Linear(16, 64)
        else:
            self.gate, self.up = nn.Linear(16, 32), nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, -1) if self.packed else (self.gate(x), self.up(x))
        return self.down(F.silu(gate) * up)


def test_gated_units() -> None:
    apart = find_structure(Residual(GatedUnit(packed=False)), (FEATURES,))
    assert weights(apart) == {
        "branch.0.gate.weight": "gate",
        "branch.0.up.weight": "branch",
        "branch.0.down.weight": "branch_end",
    }
    assert apart.branches[0].weights == ("branch.0.up.weight", "branch.0.down.weight")
    packed = find_structure(Residual(GatedUnit(packed=True)), (FEATURES,))
    assert weights(packed) == {"branch.0.both.weight": "branch", "branch.0.down.weight": "branch_end"}
    assert packed.slices["branch.0.both.weight"] == (Slice(0, 0, 32, "gate"), Slice(0, 32, 64, "branch"))


class Vision(nn.Module):
    """A class token, learned positions and one attention."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 16))
        self.place = nn.Parameter(torch.zeros(1, 17, 16))
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.block = Residual(nn.LayerNorm(16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.block(x)[:, 0])


def test_tokens_and_positions() -> None:
    assert weights(find_structure(Vision(), (IMAGES,))) == {
        "token": "embedding",
        "place": "position",
        "patches.weight": "stem",
        "block.branch.1.weight": "branch",
        "block.branch.3.weight": "branch_end",
        "head.weight": "head",
    }


class AttentionLast(nn.Module):
    """Residual blocks, and an attention without a shortcut, which alone reads their last sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(16, 16), nn.Linear(16, 3)
        self.blocks = nn.Sequential(*(Residual(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)) for _ in range(3)))
        self.attention = Attention("chunks", fused=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(self.blocks(self.stem(x))))


def test_sums_that_only_an_attention_reads_are_residual_sums() -> None:
    structure = find_structure(AttentionLast(), (torch.randn(2, 5, 16),))
    assert len(structure.branches) == 3
    ends = [name for name, part in weights(structure).items() if part == "branch_end"]
    assert ends == [f"blocks.{i}.branch.2.weight" for i in range(3)]
