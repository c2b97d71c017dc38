"""Values of what no method mentions: norms, biases, tables, scales of branches, what is kept."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from idinit.initialize import initialize_
from idinit.initializers import INITIALIZERS
from idinit.network.chosen import pattern_of


def _rows(report):
    return {row.parameter: row for row in report.rows}


class ZeroCentred(nn.Module):
    """A normalization that multiplies by 1 + w, as Gemma's."""

    def __init__(self, width):
        super().__init__()
        self.w = nn.Parameter(torch.full((width,), 7.0))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.w)


class Language(nn.Module):
    """Tokens, positions, a learned token, a norm and a head."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(50, 400, padding_idx=3)
        self.places = nn.Embedding(40, 400)
        self.first = nn.Parameter(torch.ones(1, 1, 400))
        self.norm = ZeroCentred(400)
        self.head = nn.Linear(400, 5)

    def forward(self, ids):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        return self.head(self.norm(torch.cat([self.first.expand(len(ids), 1, 400), x], 1)))


def _normal(value):
    assert value.std().item() == pytest.approx(0.02, rel=0.12) and abs(value.mean().item()) < 0.002


@pytest.mark.parametrize("method", ["idinit", "kaiming", "xavier", "orthogonal", "zero"])
def test_tables_and_norms(method):
    model = Language()
    rows = _rows(initialize_(model, method, (torch.arange(30).view(2, 15),)))
    _normal(model.tokens.weight[:3])
    _normal(model.places.weight)
    _normal(model.first)
    assert model.tokens.weight[3].count_nonzero() == 0 and rows["tokens.weight"].note == "row 3, for padding, is 0"
    assert model.norm.w.count_nonzero() == 0 and (rows["norm.w"].part, rows["norm.w"].rule) == ("norm", "0")
    again = Language()
    initialize_(again, method, (torch.arange(30).view(2, 15),))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


class Classifier(nn.Module):
    """A recurrent classifier of texts, with a norm of the tokens, a residual branch, a tied head, or none of these."""

    def __init__(self, kind):
        super().__init__()
        self.tokens, self.kind = nn.Embedding(50, 200, padding_idx=0), kind
        self.norm, self.branch = nn.LayerNorm(200), nn.Linear(200, 200)
        self.rnn, self.head = nn.LSTM(200, 200, batch_first=True), nn.Linear(200, 50, bias=False)
        if kind == "tied":
            self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids)
        x = self.norm(x) if self.kind == "norm" else x + self.branch(x) if self.kind == "residual" else x
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize(("kind", "std"), [("plain", 1), ("norm", 0.02), ("residual", 0.02), ("tied", 0.02)])
@pytest.mark.parametrize("method", ["idinit", "xavier"])
def test_an_embedding_that_no_norm_follows_has_the_default_of_torch(method, kind, std):
    model = Classifier(kind)
    rows = _rows(initialize_(model, method, (torch.arange(14).view(2, 7),)))
    assert rows["tokens.weight"].rule == f"N(0, {std})"
    assert model.tokens.weight[1:].std().item() == pytest.approx(std, rel=0.05) and not model.tokens.weight[0].any()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_the_gate_that_keeps_the_state_starts_open(kind):
    class Text(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = kind(4, 3, bidirectional=True)

        def forward(self, x):
            return self.rnn(x)[0]

    model = Text()
    report = initialize_(model, "xavier", (torch.rand(2, 5, 4),))
    gates = 4 if kind is nn.LSTM else 3
    expected = torch.zeros(gates, 3).index_fill(0, torch.tensor(1), 1).flatten()
    for way in ("", "_reverse"):
        assert torch.equal(getattr(model.rnn, f"bias_ih_l0{way}"), expected)
        assert torch.equal(getattr(model.rnn, f"bias_hh_l0{way}"), torch.zeros(3 * gates))
    assert _rows(report)["rnn.bias_ih_l0"].rule == "0; 1 for the gate that keeps the state"
    assert not report.left_alone


class ResponseNormalized(nn.Module):
    """A global response normalization, which is added to its input and starts at zero (ConvNeXt V2, Woo et al. 2023)."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 2)
        self.gamma, self.beta = nn.Parameter(torch.zeros(6)), nn.Parameter(torch.zeros(6))

    def forward(self, x):
        x = self.stem(x)
        size = x.norm(dim=0, keepdim=True)
        return self.head(self.gamma * (x * (size / (size.mean(-1, keepdim=True) + 1e-6))) + self.beta + x)


@pytest.mark.parametrize("method", ["idinit", "kaiming", "zero"])
def test_a_norm_that_is_added_to_its_input_starts_silent(method):
    model = ResponseNormalized()
    nn.init.ones_(model.gamma)
    rows = _rows(initialize_(model, method, (torch.rand(3, 6),)))
    assert not model.gamma.any() and not model.beta.any() and rows["gamma"].part == "norm"


class Scaled(nn.Module):
    """A stem, a branch with a small learned factor, and a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(6, 6), nn.Linear(6, 2)
        self.up, self.down = nn.Linear(6, 8), nn.Linear(8, 6)
        self.gamma = nn.Parameter(torch.full((6,), 1e-6))

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.gamma * self.down(F.relu(self.up(x))))


@pytest.mark.parametrize(("method", "options"), [(m, {}) for m in ("idinit", "zero", "fixup", "skipinit", "rezero")])
def test_a_branch_that_is_silent_by_itself_has_no_small_factor(method, options):
    model = Scaled()
    rows = _rows(initialize_(model, method, (torch.rand(3, 6),), **options))
    assert torch.equal(model.gamma, torch.ones(6))
    assert (rows["gamma"].rule, rows["gamma"].note) == ("1", "the last weight keeps its branch silent; was 1e-06")


@pytest.mark.parametrize(("method", "options"), [("kaiming", {}), ("xavier", {}), ("idinit", {"zero_preserving": False})])
def test_elsewhere_a_branch_keeps_its_factor(method, options):
    model = Scaled()
    report = initialize_(model, method, (torch.rand(3, 6),), **options)
    assert model.gamma.unique().item() == pytest.approx(1e-6)
    assert [(row.parameter, row.note) for row in report.left_alone] == [("gamma", f"{method} has no rule for the part 'scale'")]


@pytest.mark.parametrize("method", [m for m in INITIALIZERS if not INITIALIZERS[m].info.needs])
def test_what_is_kept_or_frozen_has_its_values_and_statistics(method):
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 4)),
    )
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(7)
    model[5].bias.requires_grad_(False)
    report = initialize_(model, method, (torch.rand(2, 3, 8, 8),), keep=("0.*", "1.*"))
    kept = {name for name, value in model.state_dict().items() if (value == 7).all()}
    buffers = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert kept == {"0.weight", "0.bias", "1.weight", "1.bias", "5.bias"} | buffers
    reasons = {row.parameter: row.note for row in report.left_alone}
    assert reasons == dict.fromkeys(kept - buffers, "kept, as asked") | {"5.bias": "frozen, it takes no gradient"}
    assert math.prod(model[3].running_var.tolist()) == 1


class Adapted(nn.Module):
    """A low-rank adapter that starts at zero (LoRA, Hu et al. 2021), a norm that does, and an identity."""

    def __init__(self):
        super().__init__()
        self.base, self.square = nn.Linear(6, 6), nn.Linear(6, 6)
        self.down, self.up, self.norm = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False), nn.LayerNorm(6)
        self.last, self.head = nn.LayerNorm(6), nn.Linear(6, 2)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.norm.weight)
        nn.init.eye_(self.square.weight)

    def forward(self, x):
        x = self.base(x) + self.up(self.down(x))
        return self.head(self.last(x + self.norm(self.square(x))))


def test_the_report_says_what_an_author_had_set():
    model = Adapted()
    report = initialize_(model, "kaiming", (torch.rand(3, 6),))
    was = {row.parameter: row.note for row in report.rows if row.note.startswith("was")}
    assert was == {"norm.weight": "was 0", "square.weight": "was the identity"}
    assert [row.parameter for row in report.left_alone] == ["up.weight"]  # else the adapter would not start at zero
    assert not any("was" in row.note for row in initialize_(model, "kaiming", (torch.rand(3, 6),)).rows)


@pytest.mark.parametrize("shape", [(6, 6), (6, 6, 3), (6, 6, 2, 4), (3, 3, 3, 3, 3), (6, 4, 3, 3)])
def test_an_identity_is_told_from_what_only_looks_like_one(shape):
    value = nn.init.eye_(torch.empty(shape)) if len(shape) == 2 else nn.init.dirac_(torch.empty(shape))
    assert pattern_of(value) == ("the identity" if shape[0] == shape[1] else "")
    value[-1, 0] += 1
    assert pattern_of(value) == pattern_of(torch.randn(shape)) == ""
    assert pattern_of(torch.full(shape, 0.5)) == "0.5"
