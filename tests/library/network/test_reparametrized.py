"""What acts is what the rule says, also where a layer computes its weight from parameters; or it is left alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from idinit.initialize import initialize_


class Standardized(nn.Conv2d):
    """Weight standardization (Qiao et al. 2019), with a gain or without."""

    def __init__(self, *args, gain=False):
        super().__init__(*args)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1)) if gain else None

    def acting(self):
        flat = self.weight.view(1, self.out_channels, -1)
        gain = None if self.gain is None else self.gain.flatten() * self.weight[0].numel() ** -0.5
        return F.batch_norm(flat, None, None, gain, training=True, eps=1e-6).view_as(self.weight)

    def forward(self, x):
        return F.conv2d(x, self.acting(), self.bias, self.stride, self.padding)


class Net(nn.Module):
    """x + outer(relu(inner(x))) between a stem and a head."""

    def __init__(self, inner, outer):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 16, 1), nn.Linear(16, 2)
        self.inner, self.outer = inner, outer

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.outer(F.relu(self.inner(x)))).mean((2, 3)))


def _old_weight_norm(module):
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(module)


WRAPPERS = {
    "weight-norm": parametrizations.weight_norm,
    "weight-norm-of-taps": lambda module: parametrizations.weight_norm(module, dim=2),
    "weight-norm-by-hooks": _old_weight_norm,
}
X = torch.rand(2, 3, 6, 6)


def _conv():
    return nn.Conv2d(16, 16, 3, padding=1)


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("method", ["idinit", "zero", "fixup", "kaiming", "orthogonal"])
def test_a_normalized_weight_acts_as_a_plain_one_would(wrap, method):
    plain, net = Net(_conv(), _conv()), Net(WRAPPERS[wrap](_conv()), WRAPPERS[wrap](_conv()))
    initialize_(plain, method, (X,), seed=3)
    report = initialize_(net, method, (X,), seed=3)
    net(X).sum().backward()  # hooks compute the weight then
    for name in ("inner", "outer"):
        torch.testing.assert_close(net.get_submodule(name).weight, plain.get_submodule(name).weight, rtol=1e-5, atol=1e-7)
    assert not report.left_alone
    notes = {row.parameter: (row.rule, row.note) for row in report.rows if row.part == "scale" and row.shape != (1,)}
    assert len(notes) == 2 and all(rule == "length of the weight" for rule, _ in notes.values())
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_a_standardized_weight_with_a_gain_acts_as_a_plain_one_would():
    net = Net(Standardized(16, 16, 3, 1, 1, gain=True), Standardized(16, 16, 3, 1, 1, gain=True))
    plain = Net(_conv(), _conv())
    for model in (net, plain):
        report = initialize_(model, "idinit", (X,))
    report = initialize_(net, "idinit", (X,))
    torch.testing.assert_close(net.outer.acting(), plain.outer.weight, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(net.inner.acting(), plain.inner.weight, rtol=0, atol=0.1)  # its rows have mean zero
    notes = {row.parameter: row.note for row in report.rows}
    assert notes["inner.weight"] == "the layer scales it by 1, within 8%" and notes["outer.weight"] == ""


def test_a_standardized_weight_without_a_gain_is_silenced_through_the_epsilon():
    net = Net(Standardized(16, 16, 3, 1, 1), Standardized(16, 16, 3, 1, 1))
    report = initialize_(net, "idinit", (X,))
    rows = torch.zeros(16, 144)
    rows[range(16), range(16)], rows[range(16), range(16, 32)] = 1e-6, -1e-6
    torch.testing.assert_close(net.outer.acting().flatten(1), rows, rtol=1e-3, atol=1e-9)
    assert {row.parameter: row.note for row in report.rows}["inner.weight"] == "the layer scales it by 12, within 8%"


@pytest.mark.parametrize("wrap", [parametrizations.spectral_norm, parametrizations.orthogonal])
def test_a_weight_that_cannot_be_silent_is_left_alone(wrap):
    net = nn.Sequential(nn.Linear(5, 8), Residual(wrap(nn.Linear(8, 8))), nn.Linear(8, 2))
    x = torch.rand(3, 5)
    net(x)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    report = initialize_(net, "idinit", (x,))
    (row,) = report.left_alone
    assert row.part == "branch_end" and torch.equal(net.get_parameter(row.parameter), before[row.parameter])
    assert row.note == "the layer computes its weight from it, and cannot represent IDIZ(1e-06), patch"


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


def test_spectral_normalization_knows_the_new_weight_at_once():
    inner, outer = (parametrizations.spectral_norm(nn.Conv2d(16, 16, 3, padding=1)) for _ in range(2))
    report = initialize_(Net(inner, outer).eval(), "idinit", (torch.randn(2, 3, 8, 8),))
    rows = {row.parameter: row for row in report.rows}
    assert rows["inner.parametrizations.weight.original"].rule == "IDI(1), patch"
    assert rows["inner.parametrizations.weight.original"].note == ""  # nothing is left to make it another
    for layer in (inner, outer):  # the second keeps the weight that it had
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, rel=0.02)
        assert not layer.parametrizations.weight.training


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("how", ["keep", "frozen"])
def test_magnitudes_that_nothing_may_change_do_not(wrap, how):
    net = Net(_conv(), WRAPPERS[wrap](_conv()))
    key = next(name for name, p in net.named_parameters() if name.startswith("outer") and p.ndim > 1 and p.numel() < 100)
    net.get_parameter(key).requires_grad_(how != "frozen")
    before = {name: p.detach().clone() for name, p in net.named_parameters() if name.startswith("outer")}
    for method in ("kaiming", "zero"):  # what has no length is not possible, what has another is said
        report = initialize_(net, method, (X,), keep=[key] if how == "keep" else [])
        rows = {row.parameter: row for row in report.rows}
        assert torch.equal(net.get_parameter(key), before[key])
        assert rows[key].rule == "left alone" and ("frozen" if how == "frozen" else "kept") in rows[key].note
    direction = max(before, key=lambda name: before[name].numel())
    assert rows[direction].rule == "left alone" and "cannot represent 0" in rows[direction].note


@pytest.mark.parametrize("wrap", ["hooks", "parametrizations"])
@pytest.mark.parametrize("method", ["idinit", "kaiming", "orthogonal"])
@pytest.mark.parametrize("seed", [1, 23, 24])  # from these, 30 steps of the power iteration are too few
def test_spectral_norm_has_settled_on_the_new_weight(wrap, method, seed):
    torch.manual_seed(seed)
    normalize = nn.utils.spectral_norm if wrap == "hooks" else parametrizations.spectral_norm
    net = nn.Sequential(normalize(nn.Conv2d(3, 8, 3, padding=1)), nn.ReLU(), normalize(nn.Conv2d(8, 8, 3)), nn.Flatten())
    initialize_(net, method, (X,))
    before = net.eval()(X)
    for _ in range(20):
        net.train()(X)
    torch.testing.assert_close(net.eval()(X), before, rtol=2e-2, atol=1e-3)
    for layer in (net[0], net[2]):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
