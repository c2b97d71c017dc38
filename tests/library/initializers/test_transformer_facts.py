"""Closed-form facts of what methods do to Transformers: attention, layers that are counted, sums that are weighed."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from idinit.errors import UsageError
from idinit.initialize import initialize_
from idinit.network.scalars import detach_scalars, named_scalars


def test_a_constant_on_the_branch_is_a_factor_on_the_skip_path(transformer):
    """DeepNorm: norm(x + f / alpha) = norm(alpha x + f), up to the norm's epsilon."""
    model, x = transformer("after")
    initialize_(model, "deepnorm", (x,))
    layer, tokens = model.layers[0], torch.randn(4, 12, 16)
    for module in (layer.attention.proj, layer.mlp[2]):
        assert module.output_scale.value.item() == pytest.approx((2 * 2) ** -0.25)
        assert not isinstance(module.output_scale.value, nn.Parameter)
    f = layer.attention(tokens) * 4**0.25  # what the branch is without the constant
    expected = layer.norm1(4**0.25 * tokens + f)
    torch.testing.assert_close(layer.norm1(tokens + layer.attention(tokens)), expected, rtol=1e-4, atol=1e-4)


def test_admin_weighs_each_branch_by_what_was_added_before(transformer):
    model, x = transformer("after")
    initialize_(model, "admin", (x,))
    scales = [module.output_scale.value.item() for layer in model.layers for module in (layer.attention.proj, layer.mlp[2])]
    assert scales[0] == 1
    sizes = []
    for layer in model.layers:
        layer.attention.register_forward_hook(lambda module, args, output: sizes.append((args[0].var(), output.var())))
        layer.mlp.register_forward_hook(lambda module, args, output: sizes.append((args[0].var(), output.var())))
    model(x)
    omegas = [1 / scale for scale in scales]
    for omega, after, (skip, branch) in zip(omegas, omegas[1:], sizes, strict=False):  # the branch is divided by omega there
        assert after == pytest.approx(math.sqrt(omega**2 * skip.item() + omega**2 * branch.item()), rel=1e-4)


def test_mimetic_products_are_near_the_identity(transformer):
    model, x = transformer("before")
    initialize_(model, "mimetic", (x,), query_noise=0, value_noise=0)
    attention = model.layers[0].attention
    query, key, value = attention.qkv.weight.detach().chunk(3)
    torch.testing.assert_close(attention.proj.weight.detach() @ value, -0.4 * torch.eye(16))
    for q, k in zip(query.split(8), key.split(8), strict=True):
        product = q.T @ k  # of rank 8, the best approximation of 0.7 I
        assert torch.linalg.svdvals(product).tolist() == pytest.approx([0.7] * 8 + [0] * 8, abs=1e-6)
        torch.testing.assert_close(product, product.T)


def test_conditioned_attention_has_condition_number_one(transformer):
    model, x = transformer("before")
    initialize_(model, "conditioned", (x,))
    query, key, value = model.layers[1].attention.qkv.weight.detach().chunk(3)
    for head in (*query.split(8), *key.split(8), value):
        assert torch.linalg.svdvals(head).tolist() == pytest.approx([1.0] * len(head), abs=1e-5)


class Separate(nn.Module):
    """Attention with a matrix each for queries, keys and values, or with one for all."""

    def __init__(self, packed):
        super().__init__()
        self.maps = nn.ModuleList([nn.Linear(64, 192)] if packed else [nn.Linear(64, 64) for _ in range(3)])
        self.proj = nn.Linear(64, 64)

    def forward(self, x):
        parts = self.maps[0](x).chunk(3, -1) if len(self.maps) == 1 else [layer(x) for layer in self.maps]
        heads = [part.unflatten(-1, (4, 16)).transpose(1, 2) for part in parts]
        return self.proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))


class Attending(nn.Module):
    def __init__(self, packed, depth=4):
        super().__init__()
        self.stem, self.head = nn.Linear(8, 64), nn.Linear(64, 3)
        self.layers = nn.ModuleList(Separate(packed) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.head(x)


@pytest.mark.parametrize("packed", [False, True])
def test_fixup_scales_queries_keys_and_values_alike_be_they_packed_or_not(packed):
    model = Attending(packed)
    initialize_(model, "fixup", (torch.rand(2, 5, 8),))
    for layer in model.layers:
        for weight in torch.cat([m.weight for m in layer.maps]).split(64):
            assert weight.std().item() == pytest.approx(math.sqrt(2 / 64) * 4 ** (-1 / 6), rel=0.05)
        assert not layer.proj.weight.any()


class Summed(nn.Module):
    """A post-norm layer whose sum is written in some order, with one branch or two."""

    def __init__(self, order):
        super().__init__()
        self.order, self.norm = order, nn.LayerNorm(8)
        self.a, self.b = (nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)) for _ in range(2))
        self.proj = nn.Linear(8, 8) if "proj" in order else nn.Identity()

    def sides(self, x):
        """The shortcut, and what is added to it."""
        return self.proj(x), self.a(x) + self.b(x) if "two" in self.order else self.a(x)

    def forward(self, x):
        if "first" in self.order:
            return self.norm(self.a(x) + self.proj(x))
        if "two" in self.order:
            return self.norm(x + self.a(x) + self.b(x))
        return self.norm(self.proj(x) + self.a(x))


@pytest.mark.parametrize("order", ["branch last", "branch first", "branch first, proj", "branch last, proj", "two branches"])
def test_admin_weighs_each_sum_by_all_that_was_added_before(order):
    model = nn.Sequential(nn.Linear(4, 8), Summed(order), Summed(order), Summed(order), nn.Linear(8, 2))
    x = torch.rand(5, 3, 4)
    initialize_(model, "admin", (x,))
    scales = [[s.value.item() for _, s in named_scalars(layer)] for layer in model[1:4]]
    detach_scalars(model)
    omega, x = 1.0, model[0](x).detach()
    for layer, own in zip(model[1:4], scales, strict=True):
        skip, added = (value.detach() for value in layer.sides(x))
        assert own == pytest.approx([1 / omega] * (2 if "two" in order else 1), rel=1e-4)
        x = layer.norm(omega * skip + added).detach()
        omega = math.sqrt((omega * skip).var() + added.var())


class Unequal(nn.Module):
    """Layers of attention and feed-forward, but one whose attention mixes tokens without a softmax."""

    def __init__(self):
        super().__init__()
        self.mixers = nn.ModuleList(Separate(packed=False) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(6))
        self.mlps = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for _ in range(3))

    def forward(self, x):
        for i, (mixer, layers) in enumerate(zip(self.mixers, self.mlps, strict=True)):
            if i == 1:
                query, key, value = (layer(x) for layer in mixer.maps)
                mixed = mixer.proj(query.relu() @ (key.relu().transpose(1, 2) @ value))
            else:
                mixed = mixer(x)
            x = self.norms[2 * i](x + mixed)
            x = self.norms[2 * i + 1](x + layers(x))
        return x


@pytest.mark.parametrize("name", ["deepnorm", "small_init"])
def test_layers_that_cannot_be_counted_are_refused(name):
    model = Unequal()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UsageError, match="2 to 4"):
        initialize_(model, name, (torch.rand(2, 5, 64),))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
