"""Closed-form facts of the methods: scales, silent branches, where scalars act, the identity."""

import math

import pytest
import torch
from plain_networks import mlp, residual_mlp, resnet
from torch import nn
from torch.nn import functional as F

from idinit.initialize import initialize_
from idinit.parts import Branch, Structure


def _wide(method, **options):
    """A residual MLP with weights large enough for statistics, L = 4, m = 2."""
    model = residual_mlp((400,), 300, blocks=4, width=500)
    parts, branches = {}, []
    for name, _ in model.named_parameters():
        end = "branch_end" if "linear2" in name else "branch"
        parts[name] = "bias" if name.endswith("bias") else end if "branch" in name else name.partition(".")[0]
    for i in range(4):
        names = tuple(f"blocks.{i}.branch.linear{k}.weight" for k in (1, 2))
        branches.append(Branch(names, f"blocks.{i}.branch"))
    initialize_(model, method, parts=Structure(parts, tuple(branches)), **options)
    return {name: p.detach() for name, p in model.named_parameters()}


STD = {  # of stem [500, 400], inner branch weight [500, 500] and head [300, 500]
    ("default", ()): (1 / math.sqrt(3 * 400), 1 / math.sqrt(3 * 500), 1 / math.sqrt(3 * 500)),
    ("xavier", ()): (math.sqrt(2 / 900), math.sqrt(2 / 1000), math.sqrt(2 / 800)),
    ("kaiming", (("mode", "fan_out"),)): (math.sqrt(2 / 500), math.sqrt(2 / 500), 1 / math.sqrt(3 * 500)),
    ("kaiming", (("mode", "fan_in"),)): (math.sqrt(2 / 400), math.sqrt(2 / 500), 1 / math.sqrt(3 * 500)),
    ("fixup", (("stem", "he"),)): (math.sqrt(2 / 500), math.sqrt(2 / 500) * 4**-0.5, 0),
    ("fixup", (("stem", "default"),)): (1 / math.sqrt(3 * 400), math.sqrt(2 / 500) * 4**-0.5, 0),
    ("skipinit", ()): (math.sqrt(2 / 400), math.sqrt(2 / 500), 0),
    ("rezero", ()): (math.sqrt(2 / 500), math.sqrt(2 / 500), 1 / math.sqrt(3 * 500)),
    ("orthogonal", ()): (math.sqrt(2 / 500), math.sqrt(2 / 500), math.sqrt(1 / 500)),
}


@pytest.mark.parametrize(("name", "options"), STD, ids=str)
def test_standard_deviations(name, options):
    values = _wide(name, **dict(options))
    weights = ("stem.weight", "blocks.0.branch.linear1.weight", "head.weight")
    for weight, std in zip(weights, STD[name, options], strict=True):
        assert values[weight].std().item() == pytest.approx(std, rel=0.03), weight
        assert values[weight].mean().abs().item() < 0.01 * std + 1e-12


def test_fixup_of_branches_with_three_weights_scales_by_the_fourth_root():
    model = nn.Sequential(*(nn.Linear(300, 300, bias=False) for _ in range(8)))
    branches = (Branch(("1.weight", "2.weight", "3.weight"), "3"), Branch(("4.weight", "5.weight", "6.weight"), "6"))
    parts = {"0.weight": "stem", "7.weight": "head"} | {f"{i}.weight": "branch" for i in range(1, 7)}
    parts |= {"3.weight": "branch_end", "6.weight": "branch_end"}
    initialize_(model, "fixup", parts=Structure(parts, branches))
    for i in (1, 2, 4, 5):
        assert model[i].weight.std().item() == pytest.approx(math.sqrt(2 / 300) * 2**-0.25, rel=0.03)


class Parallel(nn.Module):
    """Four residual branches with three layers side by side in each, and a last one behind them or none."""

    def __init__(self, has_last):
        super().__init__()
        self.stem, self.head, self.has_last = nn.Linear(60, 60), nn.Linear(60, 3), has_last
        self.first = nn.ModuleList(nn.Linear(60, 60) for _ in range(4))
        self.sides = nn.ModuleList(nn.ModuleList(nn.Linear(60, 20) for _ in range(3)) for _ in range(4))
        self.last = nn.ModuleList(nn.Linear(60, 60) for _ in range(4)) if has_last else [nn.Identity()] * 4

    def forward(self, x):
        x = self.stem(x)
        for first, sides, last in zip(self.first, self.sides, self.last, strict=True):
            y = first(x).relu()
            x = x + last(
                torch.cat([side(y) for side in sides], -1).relu() if self.has_last else torch.cat([s(y) for s in sides], -1)
            )
        return self.head(x)


@pytest.mark.parametrize(("has_last", "inner"), [(True, 2), (False, 1)])
def test_fixup_counts_layers_in_a_row(has_last, inner):
    model = Parallel(has_last)
    report = initialize_(model, "fixup", (torch.randn(2, 60),))
    assert model.first[0].weight.std().item() == pytest.approx((2 / 60) ** 0.5 * 4 ** (-1 / (2 * inner)), rel=0.05)
    scales = [row.parameter for row in report.rows if row.parameter.endswith("output_scale.value")]
    assert scales == ([f"last.{i}.output_scale.value" for i in range(4)] if has_last else [])  # none on one end of several


def test_orthogonal_singular_values():
    values = _wide("orthogonal")
    for name, value in values.items():
        if name.endswith("weight"):
            expected = 1.0 if name.startswith("head") else math.sqrt(2)
            assert torch.linalg.svdvals(value).sub(expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "kind"),
    [(m, k) for m in ("fixup", "skipinit", "rezero") for k in ("resnet", "residual-mlp")]
    + [("zero_gamma", "resnet-norm"), ("rezero", "resnet-norm"), ("zero", "resnet"), ("zero", "residual-mlp")],
)
def test_branches_are_silent(name, kind, build):
    case = build(kind)
    initialize_(case.model, name, parts=case.structure)
    outputs = []
    for branch in case.structure.branches:
        case.model.get_submodule(branch.output).register_forward_hook(lambda m, a, y: outputs.append(y))
    case.model(case.x)
    assert len(outputs) == len(case.structure.branches)
    assert all(torch.equal(y, torch.zeros_like(y)) for y in outputs)


@pytest.mark.parametrize("layout", ["patch", "spatial", "channel"])
def test_idinit_branches_are_almost_silent(layout, build):
    case = build("resnet")
    initialize_(case.model, "idinit", parts=case.structure, layout=layout)
    sizes = []
    for branch in case.structure.branches:
        hook = lambda m, args, y: sizes.append((y.abs().max() / args[0].abs().max()).item())  # noqa: E731
        case.model.get_submodule(branch.output).register_forward_hook(hook)
    case.model(case.x)
    assert all(0 < size <= 2.1e-6 for size in sizes)  # eps times a difference of two inputs


def test_without_zero_preserving_an_identity_branch_doubles_its_input():
    model = residual_mlp((6,), 6, blocks=3, width=6)
    names = [n for n, _ in model.named_parameters()]
    parts = {n: "bias" if n.endswith("bias") else "branch_end" if "linear2" in n else "branch" for n in names}
    parts |= {"stem.weight": "stem", "head.weight": "head"}
    branches = tuple(
        Branch((f"blocks.{i}.branch.linear1.weight", f"blocks.{i}.branch.linear2.weight"), f"blocks.{i}.branch")
        for i in range(3)
    )
    x = torch.rand(2, 6)
    initialize_(model, "idinit", parts=Structure(parts, branches), zero_preserving=False, head="idi")
    assert torch.equal(model(x), 8 * x)
    initialize_(model, "idinit", parts=Structure(parts, branches), head="idi")
    torch.testing.assert_close(model(x), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", [2, 10, 1000])
def test_idinit_passes_a_non_negative_input_through_a_plain_network(depth):
    model = mlp((8,), 8, depth=depth, width=8)
    names = [name for name, _ in model.named_parameters()]
    parts = {name: "bias" if name.endswith("bias") else "trunk" for name in names}
    parts |= {"linear1.weight": "stem", "head.weight": "head"}
    initialize_(model, "idinit", parts=Structure(parts, ()), head="idi")
    x = torch.rand(5, 8)
    assert torch.equal(model(x), x)


def _scramble(case):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in case.model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return dict(case.model.named_parameters())


def test_fixup_forward_is_the_published_one(build):
    """conv(x + b1a) + b1b, ReLU, scale * conv(. + b2a) + b2b; a shape-changing shortcut takes x + b1a as well."""
    case = build("resnet")
    initialize_(case.model, "fixup", parts=case.structure)
    p = _scramble(case)
    value = F.relu(F.conv2d(case.x, p["stem.weight"], padding=1) + p["stem.output_bias.value"])
    for branch in case.structure.branches:
        first, second = (name.removesuffix(".weight") for name in branch.weights)
        stride = 2 if branch.shortcut else 1
        shifted = value + p[f"{first}.input_bias.value"]
        inner = F.relu(F.conv2d(shifted, p[f"{first}.weight"], stride=stride, padding=1) + p[f"{first}.output_bias.value"])
        outer = F.conv2d(inner + p[f"{second}.input_bias.value"], p[f"{second}.weight"], padding=1)
        outer = p[f"{second}.output_scale.value"] * outer + p[f"{second}.output_bias.value"]
        if branch.shortcut:
            pooled = F.avg_pool2d(shifted, 1, 2)
            value = torch.cat([pooled, torch.zeros_like(pooled)], 1)
        value = F.relu(value + outer)
    features = value.mean((2, 3)) + p["head.input_bias.value"]
    torch.testing.assert_close(case.model(case.x), F.linear(features, p["head.weight"], p["head.bias"]))


@pytest.mark.parametrize("name", ["skipinit", "rezero"])
def test_one_multiplier_on_each_branch(name, build):
    case = build("residual-mlp")
    initialize_(case.model, name, parts=case.structure)
    p = _scramble(case)
    value = F.relu(F.linear(case.x.flatten(1), p["stem.weight"], p["stem.bias"]))
    for i in range(3):
        names = [f"blocks.{i}.branch.linear{k}" for k in (1, 2)]
        inner = F.relu(F.linear(value, p[f"{names[0]}.weight"], p[f"{names[0]}.bias"]))
        outer = F.linear(inner, p[f"{names[1]}.weight"], p[f"{names[1]}.bias"])
        value = value + p[f"{names[1]}.output_scale.value"] * outer
    torch.testing.assert_close(case.model(case.x), F.linear(value, p["head.weight"], p["head.bias"]))


def test_rezero_multiplies_after_the_last_activation_of_the_branch():
    """Published form: x + alpha * ReLU(BN(conv(ReLU(BN(conv x))))), no ReLU after the sum."""
    model = resnet((3, 8, 8), 5, depth=8, width=4, norm="batch", last_activation="branch")
    initialize_(model, "rezero", example_inputs=(torch.randn(2, 3, 8, 8),))
    block = model.get_submodule("stage1.0").eval()
    with torch.no_grad():
        block.branch.conv2.output_scale.value.fill_(-1.0)
        x = torch.randn(2, 4, 8, 8)
        difference = block(x) - x
    assert difference.max() <= 1e-6 and difference.min() < -1e-2


def test_delta_orthogonal_names_the_weight_that_narrows():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 2, 1))
    structure = Structure({"0.weight": "stem", "1.weight": "trunk", "2.weight": "head"}, ())
    before = model[0].weight.clone()
    with pytest.raises(ValueError, match=r"'1.weight' \(trunk\).* 8 .* 4 .*'orthogonal'"):
        initialize_(model, "delta_orthogonal", parts=structure)
    assert torch.equal(model[0].weight, before)


def test_default_is_what_each_module_gives_itself():
    """MultiheadAttention: Xavier packed projection, zero biases; LSTM: U(+-1/sqrt(hidden)); a bare parameter stays."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(64, 4)
            self.lstm = nn.LSTM(32, 100)
            self.bare = nn.Parameter(torch.full((3,), 2.0))

    model = Mixed()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    parts = {name: "branch" for name, _ in model.named_parameters()}
    report = initialize_(model, "default", parts=Structure(parts, ()))
    bound = math.sqrt(6 / (64 + 3 * 64))
    assert 0.98 * bound < model.attention.in_proj_weight.abs().max() <= bound
    assert torch.equal(model.attention.in_proj_bias, torch.zeros(192))
    assert torch.equal(model.attention.out_proj.bias, torch.zeros(64))
    assert 0.98 * 0.1 < model.lstm.weight_hh_l0.abs().max() <= 0.1
    assert [(row.parameter, row.note) for row in report.left_alone] == [
        ("bare", "its module has neither reset_parameters nor init_weights")
    ]


@pytest.mark.parametrize("kind", ["resnet", "resnet-norm", "mlp", "transformer"])
def test_lsuv_gives_every_layer_unit_variance(kind, build):
    case = build(kind)
    initialize_(case.model, "lsuv", (case.x,))
    deviations = []
    for module in case.model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(lambda module, args, output: deviations.append(output.std().item()))
    case.model.train()(case.x)
    assert len(deviations) > 3 and deviations == pytest.approx([1.0] * len(deviations), rel=1e-4)
