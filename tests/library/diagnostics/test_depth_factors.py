"""`examine` tells factors of depth that are misplaced or missing from ratios of fans, and from methods that have them."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from idinit import examine, initialize_


class Transformer(nn.Module):
    """Blocks of attention and a feed-forward layer, with the norm before or after them, or modulated: [N, T] -> [N, T, 50]."""

    def __init__(self, layers, expansion, kind):
        super().__init__()
        self.kind, width = kind, 32
        make_norm = nn.Identity if kind == "no norm" else partial(nn.LayerNorm, width)
        self.embedding, self.head = nn.Embedding(50, width), nn.Linear(width, 50)
        names = {"q": 1, "k": 1, "v": 1, "o": 1, "wide": expansion, "modulation": 6}
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {name: nn.Linear(width, times * width) for name, times in names.items() if name != "modulation" or kind == name}
                | {"narrow": nn.Linear(expansion * width, width), "norm1": make_norm(), "norm2": make_norm()}
            )
            for _ in range(layers)
        )

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            gates = layer["modulation"](x.mean(1, keepdim=True)).chunk(6, -1) if self.kind == "modulation" else (1, 0, 0) * 2
            for i, (norm, branch) in enumerate(((layer["norm1"], self._attend), (layer["norm2"], self._feed))):
                gate, scale, shift = gates[3 * i : 3 * i + 3]
                y = branch(layer, x if self.kind == "post" else norm(x) * (1 + scale) + shift)
                x = norm(x + y) if self.kind == "post" else x + gate * y
        return self.head(x)

    @staticmethod
    def _attend(layer, x):
        heads = (layer[part](x).unflatten(-1, (2, -1)).transpose(1, 2) for part in "qkv")
        return layer["o"](F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))

    @staticmethod
    def _feed(layer, x):
        return layer["narrow"](F.gelu(layer["wide"](x)))


@pytest.mark.parametrize(
    ("method", "kind", "layers", "expansion"),
    [
        *(("gpt2", kind, 4, expansion) for kind in ("pre", "post") for expansion in (2, 4)),
        *(("deepnorm", "post", layers, expansion) for layers in (3, 4, 8) for expansion in (2, 4)),
        *(("kaiming", kind, 3, expansion) for kind, expansion in (("modulation", 4), ("pre", 6))),
        *(("xavier", "pre", 3, 6), ("lecun", "pre", 3, 6), ("orthogonal", "pre", 3, 6), ("gpt2", "pre", 3, 6)),
        *(("fixup", "no norm", 3, 4), ("t_fixup", "no norm", 8, 2)),
    ],
)
def test_ratios_of_fans_and_factors_of_whole_branches_are_no_factors_of_depth(method, kind, layers, expansion):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(layers, expansion, kind)
    tokens = torch.arange(16).view(2, 8)
    initialize_(model, method, tokens)
    assert not [finding for finding in examine(model, tokens).findings if finding.kind == "depth"]


@pytest.mark.parametrize(("groups", "blocks"), [(16, [1, 2, 2, 3]), (32, [3, 4, 6, 3])])
def test_a_fan_of_all_groups_is_no_factor_of_depth(groups, blocks):
    # torch divides by the fan-out of all groups, which makes 1/sqrt(groups), and there are half as many blocks
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ResNet(Bottleneck, blocks, groups=groups, width_per_group=4, num_classes=10).eval()
        images = torch.randn(2, 3, 64, 64)
    assert not examine(model, images).findings


@pytest.mark.parametrize("expansion", [2, 4, 6])
@pytest.mark.parametrize("std", [lambda w: 0.02, lambda w: w.shape[1] ** -0.5, lambda w: (2 / sum(w.shape)) ** 0.5])
@pytest.mark.parametrize(("lacking", "scaled"), [("o", "narrow"), ("narrow", "o"), ("", "wide")])
def test_factors_that_are_missing_or_misplaced_are_found_whatever_the_rule(expansion, std, lacking, scaled):
    model = Transformer(4, expansion, "pre")
    generator = torch.Generator().manual_seed(0)
    for layer in model.layers:
        for name in ("q", "k", "v", "o", "wide", "narrow"):
            weight = layer[name].weight
            nn.init.normal_(weight, std=std(weight) * (8**-0.5 if name == scaled else 1), generator=generator)
    found = {name for f in examine(model, torch.arange(16).view(2, 8)).findings if f.kind == "depth" for name in f.where}
    wrong = [lacking] if lacking else [scaled, "o", "narrow"]
    assert found == {f"layers.{i}.{name}.weight" for name in wrong for i in range(4)}
