"""The workspace of an initializer: what it lists, how it fills, and the rules shared by all methods."""

import pytest
import torch
from torch import nn

from idinit.errors import UsageError
from idinit.init import identity_
from idinit.initialize import initialize_
from idinit.initializers._default_rules import fill_rest
from idinit.network import Network
from idinit.parts import Branch, Slice, Structure
from idinit.parts.layout import Layout


def _network(model, parts, branches=(), **kwargs):
    return Network(model, Structure(parts, branches, **kwargs), torch.Generator().manual_seed(0), "method")


def _rows(net):
    fill_rest(net)
    return net.rows()


def _names(weights):
    return [weight.name for weight in weights]


def test_weights_are_listed_by_part_in_the_order_of_the_parameters():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 4))
    parts = {"0.weight": "stem", "0.bias": "bias", "1.weight": "branch", "1.bias": "bias", "2.weight": "branch_end"}
    parts |= {"2.bias": "bias", "3.weight": "norm", "3.bias": "norm", "4.weight": "head", "4.bias": "bias"}
    branch = Branch(("1.weight", "2.weight"), "2")
    net = _network(model, parts, (branch,))
    assert _names(net.weights()) == ["0.weight", "1.weight", "2.weight", "4.weight"]
    assert _names(net.weights("head", "branch_end")) == ["2.weight", "4.weight"]
    assert [w.branch for w in net.weights()] == [None, branch, branch, None]
    assert [tuple(w.shape) for w in net.weights()] == [(3, 2), (3, 3), (3, 3), (4, 3)]
    assert net.names("norm") == ["3.weight", "3.bias"]
    assert len(net.names()) == 10


def test_the_groups_of_a_convolution_are_filled_one_by_one():
    model = nn.Sequential(nn.Conv2d(8, 12, 3, groups=4))
    net = _network(model, {"0.weight": "trunk", "0.bias": "bias"})
    assert tuple(net.weights()[0].shape) == (3, 2, 3, 3)
    net.fill(net.weights()[0], "identity", lambda w: identity_(w, layout="channel"))
    blocks = model[0].weight.detach()[:, :, 1, 1].view(4, 3, 2)
    assert torch.equal(blocks, torch.tensor([[1.0, 0], [0, 1], [1, 0]]).expand(4, 3, 2))
    assert model[0].weight.count_nonzero() == 12


def test_each_part_of_a_packed_matrix_is_a_weight_of_its_own():
    model = nn.Sequential(nn.Linear(2, 5))
    slices = {"0.weight": (Slice(0, 0, 2, "query"), Slice(0, 2, 4, "key"), Slice(0, 4, 5, "value"))}
    net = _network(model, {"0.weight": "query", "0.bias": "bias"}, slices=slices)
    query, key, value = net.weights()
    assert [(w.part, tuple(w.shape)) for w in (query, key, value)] == [("query", (2, 2)), ("key", (2, 2)), ("value", (1, 2))]
    assert net.weights("key") == [key] and net.weights("head") == []
    net.fill(query, "2", lambda w: w.fill_(2.0), "big")
    net.fill(key, "2", lambda w: w.fill_(2.0))
    net.fill(value, "identity", identity_, "big")
    assert model[0].weight.tolist() == [[2, 2]] * 4 + [[1, 0]]
    assert [(r.rule, r.note) for r in _rows(net)] == [("query, key: 2; value: identity", "big"), ("0", "")]


def test_rows_of_one_part_that_lie_apart_are_one_matrix():
    """As in GPT-NeoX, where each head has its query, key and value in turn."""
    model = nn.Sequential(nn.Linear(4, 8, bias=False))
    parts = ["query", "value", "query", "value"]
    slices = {"0.weight": tuple(Slice(0, 2 * i, 2 * i + 2, part) for i, part in enumerate(parts))}
    net = _network(model, {"0.weight": "query"}, slices=slices)
    for weight in net.weights():
        assert tuple(weight.shape) == (4, 4)
        net.fill(weight, "identity", identity_)
    expected = torch.eye(4)[[0, 1, 0, 1, 2, 3, 2, 3]]
    assert torch.equal(model[0].weight, expected)
    half = nn.Sequential(nn.Linear(4, 8, bias=False)).bfloat16()
    net = _network(half, {"0.weight": "query"}, slices=slices)
    for weight in net.weights():
        net.fill(weight, "identity", identity_)
    assert torch.equal(half[0].weight.float(), expected)


def test_a_matrix_that_is_stored_transposed_or_stacked_is_filled_as_out_in():
    model = nn.ParameterDict({"gpt2": torch.zeros(2, 6), "experts": torch.zeros(3, 2, 4), "heads": torch.zeros(4, 2, 3)})
    layouts = {"gpt2": Layout((1,), (0,)), "experts": Layout((2,), (1,)), "heads": Layout((1, 2), (0,))}
    slices = {"gpt2": (Slice(1, 0, 4, "key"), Slice(1, 4, 6, "value"))}
    net = _network(model, dict.fromkeys(layouts, "trunk"), slices=slices, layouts=layouts)
    shapes = [tuple(w.shape) for w in sorted(net.weights(), key=lambda w: layouts[w.name].outputs)]
    assert shapes == [(4, 2), (2, 2), (6, 4), (4, 2)]
    for weight in net.weights():
        net.fill(weight, "identity", identity_)
    eye = torch.eye(2)
    assert torch.equal(model["gpt2"], torch.cat([eye, eye, eye], 1))
    assert torch.equal(model["experts"], torch.cat([eye, eye], 1).expand(3, 2, 4))
    assert torch.equal(model["heads"].flatten(1), torch.cat([torch.eye(4), torch.eye(4)[:, :2]], 1))


def test_the_gates_of_a_recurrent_layer_are_filled_one_by_one():
    model = nn.LSTM(2, 3)
    gates = (Slice(0, 0, 6, "gate"), Slice(0, 6, 9, "recurrent"), Slice(0, 9, 12, "gate"))
    name = "weight_ih_l0"
    net = _network(model, {name: "recurrent"}, slices={name: gates}, layouts={name: Layout(chunks=4)})
    blocks = []
    for weight in net.weights():
        net.fill(weight, weight.part, lambda w: blocks.append((tuple(w.shape), w.fill_(len(blocks)))))
    assert [shape for shape, _ in blocks] == [(3, 2)] * 4
    assert model.weight_ih_l0[::3, 0].tolist() == [0, 1, 3, 2]  # the gates first, then the value


def test_what_holds_no_matrix_that_can_be_told_is_left_alone():
    model = nn.ParameterDict({"odd": torch.ones(2, 2), "map": torch.ones(2, 2)})
    net = _network(model, {"odd": "trunk", "map": "trunk"}, layouts={"odd": None, "map": Layout()})
    assert _names(net.weights()) == ["map"]
    rows = {row.parameter: row for row in _rows(net)}
    assert (rows["odd"].rule, rows["odd"].note) == ("left alone", "which of its dimensions are outputs is not known")


def test_a_transposed_convolution_is_filled_as_out_in():
    model = nn.Sequential(nn.ConvTranspose1d(4, 6, 3, groups=2))
    net = _network(model, {"0.weight": "trunk", "0.bias": "bias"})
    assert tuple(net.weights()[0].shape) == (3, 2, 3)
    net.fill(net.weights()[0], "identity", lambda w: identity_(w, layout="channel"))
    x = torch.randn(1, 4, 5)
    _rows(net)
    y = model(x)[:, :, 1:-1]  # the centre tap moves by one
    assert torch.equal(y, x[:, [0, 1, 0, 2, 3, 2]])


def test_fill_hands_out_contiguous_memory_in_float32_or_better():
    seen = []
    conv = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last).bfloat16()
    model = nn.Sequential(conv, nn.Linear(4, 4).double())
    net = _network(model, {"0.weight": "trunk", "0.bias": "bias", "1.weight": "head", "1.bias": "bias"})
    for weight in (net.weights()[0], "1.weight"):
        net.fill(weight, "rule", lambda w: (seen.append((w.dtype, w.is_contiguous())), w.zero_()))
    assert seen == [(torch.float32, True), (torch.float64, True)]


def test_what_a_method_does_not_mention_gets_the_shared_rules():
    model = nn.Sequential(nn.Conv1d(2, 2, 1), nn.BatchNorm1d(2), nn.Embedding(3, 2), nn.PReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(7)
    parts = {"0.weight": "stem", "0.bias": "bias", "1.weight": "norm", "1.bias": "norm", "2.weight": "embedding"}
    unknown = {"3.weight": "enters an operator that is not understood"}
    net = _network(model, parts, unknown=unknown, shared={"2.weight": ("5.weight",)})
    net.fill("0.weight", "1", nn.init.ones_, "why")
    rows = _rows(net)
    assert [(r.parameter, r.part, r.rule, r.note) for r in rows] == [
        ("0.weight", "stem", "1", "why"),
        ("0.bias", "bias", "0", ""),
        ("1.weight", "norm", "1", ""),
        ("1.bias", "norm", "0", ""),
        ("2.weight", "embedding", "N(0, 0.02)", "shared with 5.weight"),
        ("3.weight", "unknown", "left alone", "enters an operator that is not understood"),
        ("4.weight", "unknown", "left alone", "its part is not known"),
        ("4.bias", "unknown", "left alone", "its part is not known"),
    ]
    expected = {
        "0.bias": 0,
        "1.weight": 1,
        "1.bias": 0,
        "1.running_mean": 0,
        "1.running_var": 1,
        "1.num_batches_tracked": 0,
    }
    expected |= {"3.weight": 7, "4.weight": 7, "4.bias": 7}
    state = model.state_dict()
    for name, value in expected.items():
        assert state[name].unique().tolist() == [value], name


def test_a_scalar_is_reported_with_where_it_acts():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    net = _network(model, {"0.weight": "stem", "0.bias": "bias", "1.0.weight": "branch_end", "1.0.bias": "bias"})
    net.add_scalar("input_bias", 0, "1.0.weight", also="0", lr_scale=0.1)
    net.add_scalar("output_scale", 0.25, "1.0.weight", at="1")
    rows = {row.parameter: row for row in _rows(net)}
    bias, scale = rows["1.0.input_bias.value"], rows["1.0.output_scale.value"]
    assert (bias.shape, bias.part, bias.rule, bias.note) == ((1,), "bias", "0", "added, acts on 1.0 and 0, lr x 0.1")
    assert (scale.part, scale.rule, scale.note) == ("scale", "0.25", "added, acts on 1")
    assert list(rows)[-2:] == ["1.0.input_bias.value", "1.0.output_scale.value"]
    model[1][0].input_bias.value.data.fill_(2.0)
    x = torch.randn(3, 2)
    stem = nn.functional.linear(x + 2, model[0].weight, model[0].bias)
    inner = nn.functional.linear(stem + 2, model[1][0].weight, model[1][0].bias)
    torch.testing.assert_close(model(x), 0.25 * inner.relu())


def test_a_weight_that_two_branches_share_has_no_multiplier_for_each():
    branches = (Branch(("0.weight",), None), Branch(("0.weight",), None))
    net = _network(nn.Sequential(nn.Linear(2, 2)), {"0.weight": "branch_end", "0.bias": "bias"}, branches)
    with pytest.raises(UsageError, match="'method'.*'0.weight'"):
        net.branch_places()


@pytest.mark.parametrize("branch", [Branch(("0.weight",), None), Branch(("1.weight",), None, end_norm="2")])
def test_a_branch_that_no_module_returns_has_no_multiplier(branch):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.LayerNorm(2))
    net = _network(model, {"0.weight": "branch_end", "1.weight": "branch_end"}, (branch,), hookable=frozenset({"1"}))
    with pytest.raises(UsageError, match="wrap the branch"):
        net.branch_places()
    inner = Branch(("1.weight",), None)
    assert _network(model, {}, (inner,), hookable=frozenset({"1"})).branch_places() == {inner: "1"}


class TwoEnds(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.left, self.right = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        h = self.inner(x).relu()
        return x + nn.functional.gelu(self.left(h) + self.right(h))


@pytest.mark.parametrize("method", ["rezero", "skipinit"])
def test_a_branch_that_ends_in_two_layers_is_not_half_silenced(method):
    model, x = nn.Sequential(nn.Linear(4, 8), TwoEnds(), nn.Linear(8, 2)), torch.randn(3, 4)
    with pytest.raises(UsageError, match="'1.right.weight': the branch ends in '1.left.weight' as well"):
        initialize_(model, method, (x,))
