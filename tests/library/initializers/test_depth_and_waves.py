"""Facts of the methods for Transformers and sines: depth, full rank, spread."""

import math

import pytest
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel

from idinit.errors import UsageError
from idinit.init import sinusoidal_, truncated_normal_
from idinit.initialize import initialize_
from idinit.initializers._layers import branch_depths
from idinit.parts import find_structure


def test_a_truncated_normal_has_the_deviation_asked_for():
    w = truncated_normal_(torch.empty(400_000), 1e-6, torch.Generator().manual_seed(0))
    assert w.std().item() == pytest.approx(1e-6, rel=5e-3)
    assert w.abs().max().item() == pytest.approx(2 / 0.8796256610e6, rel=1e-3)


@pytest.mark.parametrize("shape", [(64, 64), (128, 64), (40, 64), (2, 2), (7, 7), (16, 3, 3, 3)], ids=str)
def test_sinusoidal_rows_sum_to_zero_at_the_largest_rank_possible(shape):
    w = sinusoidal_(torch.empty(shape, dtype=torch.float64))
    matrix = w.flatten(1)
    assert matrix.sum(1).abs().max() < 1e-12
    assert torch.linalg.matrix_rank(matrix) == min(shape[0], matrix.shape[1] - 1)
    assert matrix.square().mean().item() == pytest.approx(2 / (matrix.shape[1] + w.numel() / shape[1]))
    assert len(matrix.unique(dim=0)) == shape[0] and matrix.norm(dim=1).min() > 0


def test_only_the_ends_of_branches_depend_on_depth(deep_transformer):
    model, structure = deep_transformer(5)
    initialize_(model, "depth_scaled", parts=structure)
    for depth, layer in enumerate(model):
        for end in (layer.attention.proj, layer.mlp[2]):
            assert end.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * (depth + 1)), rel=0.2)
        for other in (layer.attention.qkv, layer.mlp[0]):
            assert other.weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_a_decoder_counts_its_own_branches():
    model = nn.Transformer(16, 2, 2, 3, 32, batch_first=True)
    structure = find_structure(model, (torch.rand(1, 3, 16), torch.rand(1, 4, 16)))
    assert list(branch_depths(structure).values()) == [2, 2, 4, 4, 3, 3, 3, 6, 6, 6, 9, 9, 9]


def test_two_towers_count_each_on_its_own():
    vision = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, image_size=16, patch_size=8)
    text = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, vocab_size=50, eos_token_id=1)
    config = CLIPConfig(
        vision_config=vision | {"num_hidden_layers": 3}, text_config=text | {"num_hidden_layers": 2}, projection_dim=16
    )
    model = CLIPModel(config).float()
    inputs = {"input_ids": torch.ones(2, 5, dtype=torch.long), "pixel_values": torch.rand(2, 3, 16, 16)}
    initialize_(model, "depth_scaled", inputs)
    for tower in (model.vision_model, model.text_model):
        for depth, layer in enumerate(tower.encoder.layers):
            for end in (layer.self_attn.out_proj, layer.mlp.fc2):
                assert end.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * (depth + 1)), rel=0.1)


def test_the_value_output_half_of_mimetic_is_near_a_negative_identity(transformer):
    model, x = transformer("before")
    initialize_(model, "mimetic", (x,), weights="vo", value_noise=1e-4)
    for layer in model.layers:
        value, output = layer.attention.qkv.weight[32:], layer.attention.proj.weight
        for head in (slice(0, 8), slice(8, 16)):
            torch.testing.assert_close(value[head] @ output[:, head], -0.05 * torch.eye(8), rtol=0, atol=1e-3)
        bound = layer.attention.qkv.weight[:32].abs().max().item()
        assert 0.9 * 16**-0.5 < bound <= 16**-0.5  # queries and keys have torch's default


class Sines(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(30 * layer(x))
        return self.head(x)


def test_sirens_keep_their_activations_arcsine_at_every_depth():
    model, x = Sines(256), torch.rand(500, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    initialize_(model, "siren", (x,))
    deviations = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _m, _a, output: deviations.append((30 * output).sin().std().item()))
    model(x)
    assert deviations == pytest.approx([math.sqrt(0.5)] * 3, abs=0.05)


class Encoded(nn.Module):
    """Layers with ReLU of an input that sines encode: at frequencies as in NeRF, at learned ones, or as Bessel functions."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.frequencies = kind, nn.Linear(2, 8)
        self.first, self.second, self.head = nn.Linear({"distance": 8}.get(kind, 16), 32), nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, x):
        if self.kind == "frequencies":
            angles = torch.cat([x * 2**i for i in range(4)], -1)
        elif self.kind == "learned":
            angles = self.frequencies(x)
        else:
            angles = x.norm(dim=-1, keepdim=True) * torch.arange(1.0, 9)
        code = angles.sin() / (1 + angles) if self.kind == "distance" else torch.cat([angles.sin(), angles.cos()], -1)
        return self.head(self.second(self.first(code).relu()).relu())


@pytest.mark.parametrize("kind", ["frequencies", "learned", "distance"])
def test_sines_that_encode_the_input_are_no_activations(kind):
    model, x = Encoded(kind), torch.rand(4, 2)
    before = model.first.weight.clone()
    with pytest.raises(UsageError, match=f"'siren'.*{'1 of 3' if kind == 'learned' else 'none'}.*'kaiming'"):
        initialize_(model, "siren", (x,))
    assert torch.equal(model.first.weight, before)


class Modulated(nn.Module):
    """Layers of sines whose frequencies and phases another network makes, as in pi-GAN (Chan et al. 2021)."""

    def __init__(self):
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 3 * 2 * 16))
        self.layers, self.head = nn.ModuleList(nn.Linear(2 if i == 0 else 16, 16) for i in range(3)), nn.Linear(16, 1)

    def forward(self, x, style):
        for layer, code in zip(self.layers, self.mapping(style).chunk(3, -1), strict=True):
            frequency, phase = code.chunk(2, -1)
            x = torch.sin((15 * frequency + 30) * layer(x) + phase)
        return self.head(x)


def test_sines_with_frequencies_that_are_made_are_activations():
    model = Modulated()
    initialize_(model, "siren", (torch.rand(4, 2), torch.rand(4, 4)))
    assert model.layers[2].weight.abs().max().item() == pytest.approx(math.sqrt(6 / 16) / 30, rel=0.05)


def test_sines_are_looked_for_in_the_graph():
    with pytest.raises(UsageError, match="'siren'.*'kaiming'"):
        initialize_(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), "siren", (torch.rand(4, 2),))
