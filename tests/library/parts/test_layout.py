"""How parameters hold matrices, what stands side by side in them, and where a norm does nothing: told from the graph."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idinit import initialize_
from idinit.parts import Slice, Structure, find_structure
from idinit.parts.heads import Heads
from idinit.parts.layout import Layout


class Function(nn.Module):
    """Parameters of given shapes, and what is made of them and the input."""

    def __init__(self, call: Callable[..., Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.rand(shape) for shape in shapes)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, *self.weights)


def _structure(call: Callable[..., Tensor], *shapes: tuple[int, ...], x: tuple[int, ...] = (2, 4)) -> Structure:
    return find_structure(Function(call, *shapes), (torch.rand(x),))


LAYOUTS = {
    "linear": (F.linear, (6, 4), (2, 4), Layout()),
    "linear-of-a-transpose": (lambda x, w: F.linear(x, w.T), (4, 6), (2, 4), Layout((1,), (0,))),
    "matmul": (lambda x, w: x @ w, (4, 6), (2, 4), Layout((1,), (0,))),
    "matmul-from-the-left": (lambda x, w: w @ x, (6, 4), (4, 2), Layout()),
    "addmm": (lambda x, w: torch.addmm(x.new_ones(6), x, w), (4, 6), (2, 4), Layout((1,), (0,))),
    "experts": (torch.bmm, (3, 4, 6), (3, 2, 4), Layout((2,), (1,))),
    "one-expert": (lambda x, w: F.linear(x, w[1]), (3, 6, 4), (2, 4), Layout((1,), (2,))),
    "einsum": (lambda x, w: torch.einsum("bd,dhk->bhk", x, w), (4, 3, 2), (2, 4), Layout((1, 2), (0,))),
    "einsum-of-heads": (lambda x, w: torch.einsum("bhk,hkd->bd", x, w), (3, 2, 4), (5, 3, 2), Layout((2,), (0, 1))),
    "reshape": (lambda x, w: F.linear(x, w.flatten(0, 1)), (3, 2, 4), (2, 4), Layout((0, 1), (2,))),
    "conv1d": (F.conv1d, (6, 4, 3), (2, 4, 5), Layout((0,), (1,), (2,))),
    "conv2d": (F.conv2d, (6, 4, 3, 2), (2, 4, 5, 5), Layout((0,), (1,), (2, 3))),
    "groups": (lambda x, w: F.conv2d(x, w, groups=4), (8, 1, 3, 3), (2, 4, 5, 5), Layout((0,), (1,), (2, 3), 4)),
    "transposed": (
        lambda x, w: F.conv_transpose2d(x, w, groups=2),
        (4, 3, 2, 2),
        (2, 4, 5, 5),
        Layout((1,), (0,), (2, 3), 2),
    ),
    "standardized": (lambda x, w: F.linear(x, F.layer_norm(w, (4,))), (6, 4), (2, 4), Layout()),
    "no-dimensions": (lambda x, w: F.linear(x, w.view(6, 4)), (3, 8), (2, 4), None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    call, weight, x, layout = LAYOUTS[name]
    assert _structure(call, weight, x=x).layouts == {"weights.0": layout}


@pytest.mark.parametrize(
    ("kind", "options", "parts"),
    [
        (nn.LSTM, {}, ["gate", "gate", "recurrent", "gate"]),
        (nn.LSTM, {"proj_size": 2}, ["gate", "gate", "recurrent", "gate"]),
        (nn.GRU, {}, ["gate", "gate", "recurrent"]),
        (nn.RNN, {}, ["recurrent"]),
    ],
)
def test_gates_of_recurrent_layers(kind: type[nn.RNNBase], options: dict[str, int], parts: list[str]) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(3, 5, **options)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x)[0]

    structure = find_structure(First(), (torch.rand(4, 2, 3),))
    weights = ("rnn.weight_ih_l0", "rnn.weight_hh_l0")
    for weight in weights:
        assert structure.parts[weight] == "recurrent"
        assert structure.layouts[weight] == Layout(chunks=len(parts))
        rows = ["recurrent"] * (5 * len(parts))
        for piece in structure.slices.get(weight, ()):
            rows[piece.start : piece.stop] = [piece.part] * (piece.stop - piece.start)
        assert rows == [part for part in parts for _ in range(5)]
    assert structure.keepers == ({"rnn.bias_ih_l0": Slice(0, 5, 10, "bias")} if len(parts) > 1 else {})
    if options:
        assert structure.layouts["rnn.weight_hr_l0"] == Layout() and "rnn.weight_hr_l0" not in structure.slices


def _rms(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


NEUTRAL = {
    "layer-norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), {"weights.0": 1.0, "weights.1": 0.0}),
    "by-hand": (lambda x, w, b: _rms(x) * w + b, {"weights.0": 1.0, "weights.1": 0.0}),
    "one-plus": (lambda x, w, b: _rms(x) * (1 + w.float()) + b, {"weights.0": 0.0}),
    "layer-norm-one-plus": (lambda x, w, b: F.layer_norm(x, (4,), w + 1, b), {"weights.0": 0.0, "weights.1": 0.0}),
    "exponential": (lambda x, w, b: _rms(x) * w.exp() + b, {"weights.0": None}),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_where_a_norm_does_nothing(name: str) -> None:
    call, expected = NEUTRAL[name]
    structure = _structure(call, (4,), (4,))
    assert structure.parts == {"weights.0": "norm", "weights.1": "norm" if "weights.1" in expected else "bias"}
    assert structure.neutral == expected


@pytest.mark.parametrize("name", ["layer-norm", "by-hand", "one-plus", "layer-norm-one-plus"])
@pytest.mark.parametrize("tokens", [1, 3])
def test_where_a_norm_of_learned_tokens_does_nothing(name: str, tokens: int) -> None:
    call, expected = NEUTRAL[name]

    class Reader(nn.Module):
        """Learned queries read x."""

        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Parameter(torch.randn(tokens, 4))
            self.weights = nn.ParameterList([torch.rand(4) for _ in expected])
            self.query, self.key, self.value = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            tokens = call(self.tokens, *self.weights) if len(expected) > 1 else call(self.tokens, *self.weights, 0)
            query = self.query(tokens).expand(len(x), -1, -1)
            return F.scaled_dot_product_attention(query, self.key(x), self.value(x))

    model, x = Reader(), torch.rand(2, 5, 4)
    structure = find_structure(model, (x,))
    assert structure.parts["tokens"] == "embedding"
    assert {key: structure.parts[key] for key in expected} == dict.fromkeys(expected, "norm")
    assert structure.neutral == expected
    for weight in model.weights:
        nn.init.constant_(weight, 7.0)
    initialize_(model, "kaiming", x, replace="*")
    assert {key: model.get_parameter(key).unique().tolist() for key in expected} == {k: [v] for k, v in expected.items()}


@pytest.mark.parametrize(
    "add", [lambda x, y, gamma: x + gamma * y, lambda x, y, gamma: torch.addcmul(x, gamma, y)], ids=["mul", "addcmul"]
)
def test_the_scale_of_a_branch(add: Callable[..., Tensor]) -> None:
    def call(x: Tensor, up: Tensor, slope: Tensor, down: Tensor, gamma: Tensor) -> Tensor:
        return add(x, F.linear(F.prelu(F.linear(x, up), slope), down), gamma)

    structure = _structure(call, (6, 4), (1,), (4, 6), (4,))
    (branch,) = structure.branches
    assert branch.weights == ("weights.0", "weights.2") and branch.scales == ("weights.3",)
    assert structure.neutral["weights.3"] == 1.0


def test_the_weights_of_each_attention() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.own = nn.MultiheadAttention(8, 2, batch_first=True)
            self.cross = nn.MultiheadAttention(8, 4, kdim=6, vdim=6, batch_first=True)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            x = x + self.own(x, x, x)[0]
            return x + self.cross(x, y, y, need_weights=False)[0]

    structure = find_structure(Block(), (torch.rand(2, 3, 8), torch.rand(2, 5, 6)))
    packed, apart = "own.in_proj_weight", "cross.{}_proj_weight"
    assert structure.heads == (
        Heads(packed, packed, packed, "own.out_proj.weight", 4, False),
        Heads(apart.format("q"), apart.format("k"), apart.format("v"), "cross.out_proj.weight", 2, True),
    )
