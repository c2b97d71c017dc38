"""Where the paper is silent: what carries values is an identity, what only weighs them is not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from idinit.init import identity_
from idinit.initialize import initialize_


def _rules(report):
    return {row.parameter: row.rule for row in report.rows}


def _is_default(block):
    """U(-b, b), b = 1/sqrt(fan-in)."""
    bound = block.shape[1] ** -0.5
    return 0.9 * bound < block.abs().max() <= bound and len(block.unique()) == block.numel()


class Scales(nn.Module):
    """A layer with a small scale on the main path, a branch of a small scale alone, and a temperature after the head."""

    def __init__(self):
        super().__init__()
        self.stem, self.layer, self.head = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.gate = nn.Linear(8, 8, bias=False)
        self.on_the_way, self.aside = (nn.Parameter(torch.full((8,), 1e-5)) for _ in range(2))
        self.temperature = nn.Parameter(torch.tensor(2.65))

    def forward(self, x):
        x = self.stem(x)
        x = self.on_the_way * self.layer(x) * torch.sigmoid(self.gate(x))
        x = x + self.aside * x.roll(1, -1)
        return self.head(x) * self.temperature.exp()


def test_a_scale_on_the_main_path_is_neutral_and_others_are_left_alone():
    report = initialize_(Scales(), "idinit", (torch.randn(2, 8, generator=torch.Generator().manual_seed(0)),))
    rules = _rules(report)
    assert [rules[name] for name in ("on_the_way", "aside", "temperature")] == ["1", "left alone", "left alone"]


@pytest.mark.parametrize("layout", ["patch", "spatial", "channel"])
def test_a_depthwise_kernel_passes_its_channel(layout):
    model = nn.Sequential(nn.Conv2d(3, 18, 1), nn.Conv2d(18, 18, 3, groups=18, padding=1), nn.Flatten(), nn.Linear(18 * 25, 2))
    initialize_(model, "idinit", (torch.rand(2, 3, 5, 5),), layout=layout)
    x = torch.rand(2, 18, 5, 5)
    assert torch.equal(model[1](x), x)


class Depthwise(nn.Module):
    """A picture of 8x8 to one vector by three depthwise convolutions that halve it, which are called as modules or not."""

    def __init__(self, as_modules):
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 64, 1), nn.Linear(64, 10)
        self.halves = nn.ModuleList(nn.Conv2d(64, 64, 3, 2, 1, groups=64) for _ in range(3))
        self.as_modules = as_modules

    def forward(self, x):
        x = self.stem(x)
        for half in self.halves:
            x = torch.relu(half(x) if self.as_modules else F.conv2d(x, half.weight, half.bias, (2, 2), 1, groups=64))
        return self.head(x.flatten(1))


@pytest.mark.parametrize("as_modules", [True, False])
@pytest.mark.parametrize(("layout", "pixels"), [("patch", 4), ("spatial", 4), ("channel", 1)])
def test_a_depthwise_kernel_with_a_stride_reads_other_places_in_other_channels(as_modules, layout, pixels):
    """By centre taps three of four pixels are lost at each, until one is left of the whole picture."""
    model, x = Depthwise(as_modules), torch.rand(2, 1, 8, 8) + 0.1
    initialize_(model, "idinit", (x,), layout=layout)
    for half in model.halves:
        assert torch.equal(half.weight.detach(), identity_(torch.empty(64, 1, 3, 3), layout=layout))
    read = torch.autograd.functional.jacobian(lambda x: model(x).sum(0), x)
    assert (read != 0).flatten(0, -3).any(0).sum() == pixels


def test_a_grouped_kernel_is_reshaped_as_it_is_stored():
    """[out, in / groups * k], group after group; in the layout channel each group is an identity."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 24, 3, groups=4), nn.Flatten(), nn.Linear(24 * 9, 2))
    x = (torch.rand(2, 3, 5, 5),)
    initialize_(model, "idinit", x)
    assert torch.equal(model[1].weight.detach().view(24, 18), identity_(torch.empty(24, 18)))
    initialize_(model, "idinit", x, layout="channel")
    assert torch.equal(model[1].weight.detach()[..., 1, 1], identity_(torch.empty(6, 2)).repeat(4, 1))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.rnn = kind(4, 6, batch_first=True, **options)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize(("kind", "value"), [(nn.LSTM, 2), (nn.GRU, 2), (nn.RNN, 0)])
def test_the_value_of_a_recurrent_layer_is_an_identity_and_its_gates_are_not(kind, value):
    model = Recurrent(kind)
    report = initialize_(model, "idinit", (torch.rand(2, 3, 4),))
    for name, inputs in (("weight_ih_l0", 4), ("weight_hh_l0", 6)):
        blocks = getattr(model.rnn, name).detach().split(6)
        assert torch.equal(blocks[value], torch.eye(6, inputs) if inputs == 6 else torch.eye(4).repeat(2, 1)[:6])
        assert all(_is_default(block) for i, block in enumerate(blocks) if i != value)
    expected = "IDI(1), patch" if len(blocks) == 1 else "gate: torch default; recurrent: IDI(1), patch"
    assert _rules(report)["rnn.weight_hh_l0"] == expected


def test_a_recurrent_network_of_identities_adds_up_its_inputs():
    model = Recurrent(nn.RNN, nonlinearity="relu")
    initialize_(model, "idinit", (torch.rand(2, 5, 4),))
    x = torch.rand(2, 5, 4)
    states, _ = model.rnn(x)
    torch.testing.assert_close(states[..., :4], x.cumsum(1))


class Gated(nn.Module):
    """A gated unit whose gate and value are rows of one matrix."""

    def __init__(self):
        super().__init__()
        self.stem, self.up, self.down, self.head = nn.Linear(5, 6), nn.Linear(6, 16), nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = self.stem(x)
        gate, value = self.up(x).chunk(2, -1)
        return self.head(x + self.down(F.silu(gate) * value))


def test_the_gate_of_a_gated_unit_is_no_identity():
    model = Gated()
    report = initialize_(model, "idinit", (torch.rand(3, 5),))
    gate, value = model.up.weight.detach().chunk(2)
    assert _is_default(gate) and torch.equal(value, torch.eye(6).repeat(2, 1)[:8])
    assert _rules(report)["up.weight"] == "gate: torch default; branch: IDI(1), patch"
    initialize_(model, "idinit", (torch.rand(3, 5),), coefficients="idi")
    assert torch.equal(model.up.weight.detach()[:8], torch.eye(6).repeat(2, 1)[:8])


@pytest.mark.parametrize("norm", ["before", "after", None])
def test_attention_passes_values_and_starts_silent(norm, transformer):
    model, x = transformer(norm)
    initialize_(model, "idinit", (x,))
    for layer in model.layers:
        query, key, value = layer.attention.qkv.weight.detach().chunk(3)
        assert torch.equal(value, torch.eye(16)) and _is_default(query) and _is_default(key)
        tokens = torch.rand(2, 12, 16)
        assert layer.attention(tokens).abs().max() < 2.1e-6


def test_a_norm_after_the_last_weight_leaves_the_branch_small(build):
    """Its epsilon bounds how much it can scale the branch up: here to 1e-6 / sqrt(1e-5), and the report says so."""
    case = build("resnet-norm")
    report = initialize_(case.model, "idinit", (case.x,), parts=case.structure)
    notes = {row.parameter: (row.rule, row.note) for row in report.rows}
    sizes = []
    for branch in case.structure.branches:
        assert notes[f"{branch.end_norm}.weight"] == (
            "1",
            "after the last weight of its branch: its epsilon keeps the branch small",
        )
        hook = lambda m, args, y: sizes.append((y.std() / args[0].std()).item())  # noqa: E731
        case.model.get_submodule(branch.output).register_forward_hook(hook)
    case.model.train()(case.x)
    assert len(sizes) == 3 and all(1e-5 < size < 1e-3 for size in sizes)
