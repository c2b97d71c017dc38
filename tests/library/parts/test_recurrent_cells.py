"""Recurrent cells written by hand: few steps, and what attends to a memory at each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import rows, weights
from published import GRU, LSTM
from torch import Tensor, nn
from torch.nn import functional as F

from idinit.parts import find_parts, find_structure

SERIES = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))


class Cell(nn.Module):
    """h <- tanh(W x_t + U h); the state is zeros at first, or given."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.u, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        h = x.new_zeros(len(x), 8) if state is None else state
        for t in range(x.shape[1]):
            h = (self.w(x[:, t]) + self.u(h)).tanh()
        return self.head(h)


@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_cell_of_few_steps(steps: int, is_given: bool) -> None:
    inputs = (SERIES[:, :steps], SERIES.new_ones(3, 8)) if is_given else (SERIES[:, :steps],)
    structure = find_structure(Cell(), inputs)
    found = "stem" if is_given and steps == 1 else "recurrent"  # one step of what is given is any two layers
    assert weights(structure) == {"w.weight": found, "u.weight": found, "head.weight": "head"}
    assert not structure.branches


@pytest.mark.parametrize("is_joint", [False, True])
def test_an_lstm_of_two_steps(is_joint: bool) -> None:
    structure = find_structure(LSTM(is_joint), (SERIES[:, :2],))
    for name in ("x.weight",) if is_joint else ("x.weight", "h.weight"):
        assert rows(structure, name) == [(0, 0, 16, "gate"), (0, 16, 24, "recurrent"), (0, 24, 32, "gate")]
    assert not structure.branches and structure.keepers["x.bias"].start == 8


def test_a_gru_of_two_steps() -> None:
    structure = find_structure(GRU(), (SERIES[:, :2],))
    assert weights(structure) == {
        "reset.weight": "gate", "update.weight": "gate", "new.weight": "recurrent", "head.weight": "head",
    }  # fmt: skip
    assert not structure.branches and list(structure.keepers) == ["update.bias"]


class Shared(nn.Module):
    """Two blocks that share their layers, and read the same condition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c, self.head = (nn.Linear(4, 8), *(nn.Linear(8, 8) for _ in range(3)), nn.Linear(8, 2))

    def forward(self, x: Tensor) -> Tensor:
        x, condition = self.stem(x[:, :3]), self.c(self.stem(x[:, 3:]))
        for _ in range(2):
            x = x + self.b((self.a(x) + condition).relu())
        return self.head(x)


def test_two_blocks_that_share_layers_are_no_steps() -> None:
    structure = find_structure(Shared(), (SERIES,))
    assert structure.parts["a.weight"] == "branch" and structure.parts["b.weight"] == "branch_end"


Scores = Callable[["Decoder", Tensor, Tensor, Tensor], Tensor]


class Decoder(nn.Module):
    """A cell that attends to a memory at each step, by scores that a small network makes (Bahdanau et al. 2015)."""

    def __init__(self, scores: Scores, steps: int, is_written_by_hand: bool) -> None:
        super().__init__()
        self.scores, self.steps, self.is_written_by_hand = scores, steps, is_written_by_hand
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 2)
        self.query, self.key, self.score = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 1)
        self.both = nn.Linear(16, 6)
        self.kernel, self.place = nn.Conv1d(1, 3, 3, padding=1), nn.Linear(3, 6)
        self.w, self.u, self.cell = nn.Linear(8, 8), nn.Linear(8, 8), nn.GRUCell(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        memory = self.stem(x).tanh()
        h, seen, states = memory.new_zeros(len(x), 8), memory.new_zeros(x.shape[:2]), []
        for _ in range(self.steps):
            p = self.score(self.scores(self, h, memory, seen).tanh()).squeeze(-1).softmax(-1)
            seen, read = seen + p, torch.bmm(p[:, None], memory)[:, 0]
            h = (self.w(read) + self.u(h)).tanh() if self.is_written_by_hand else self.cell(read, h)
            states.append(self.head(h))
        return torch.stack(states, 1)


def _by_both(net: Decoder, h: Tensor, memory: Tensor, _seen: Tensor) -> Tensor:
    return net.both(torch.cat([h[:, None].expand_as(memory), memory], -1))


SCORES: dict[str, tuple[Scores, tuple[str, ...]]] = {
    "a sum": (lambda net, h, memory, seen: net.query(h)[:, None] + net.key(memory), ("query", "key")),
    "one map": (_by_both, ("both",)),
    "with places": (  # Chorowski et al. 2015
        lambda net, h, memory, seen: net.query(h)[:, None] + net.key(memory) + net.place(net.kernel(seen[:, None]).mT),
        ("query", "key", "kernel", "place"),
    ),
}


@pytest.mark.parametrize("is_written_by_hand", [False, True])
@pytest.mark.parametrize("steps", [2, 4])
@pytest.mark.parametrize("name", SCORES)
def test_what_weighs_a_memory_is_no_recurrence(name: str, steps: int, is_written_by_hand: bool) -> None:
    scores, makers = SCORES[name]
    structure = find_structure(Decoder(scores, steps, is_written_by_hand), (SERIES,))
    used = {key: part for key, part in weights(structure).items() if not key.startswith("cell")}
    cell = {"w.weight": "recurrent", "u.weight": "recurrent"} if is_written_by_hand else {}
    gates = {f"{maker}.weight": "gate" for maker in (*makers, "score")}
    assert used == {"stem.weight": "stem", "head.weight": "head"} | gates | cell
    assert not structure.branches


class Pointer(nn.Module):
    """A pointer network (Vinyals et al. 2015), whose scores are its output and what the memory is read by."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.query, self.key, self.score = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 1)
        self.cell = nn.GRUCell(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        memory, outputs = self.stem(x), []
        h, key = memory.mean(1), self.key(memory)
        for _ in range(4):
            outputs.append(self.score((self.query(h)[:, None] + key).tanh()).squeeze(-1))
            h = self.cell((outputs[-1].softmax(-1)[..., None] * memory).sum(1), h)
        return torch.stack(outputs, 1)


def test_a_pointer_network_has_no_residual_branch() -> None:
    structure = find_structure(Pointer(), (SERIES,))
    assert structure.parts["query.weight"] == structure.parts["key.weight"] == "trunk"
    assert not structure.branches


class SharedPositions(nn.Module):
    """Two blocks that share the convolution of their positions and that of their values, as CoaT's, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.token = nn.Linear(4, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.positions, self.mixed = (nn.Conv1d(8, 8, 3, padding=1, groups=8) for _ in range(2))
        self.qkv = nn.ModuleList(nn.Linear(8, 24) for _ in range(2))
        self.proj = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), self.stem(x)], 1)
        for qkv, proj in zip(self.qkv, self.proj, strict=True):
            token, rest = x[:, :1], x[:, 1:]
            x = torch.cat([token, rest + self.positions(rest.mT).mT], 1)
            q, k, v = qkv(x).chunk(3, -1)
            mixed = q * self.mixed(v.mT).mT
            x = x + proj(q @ (k.softmax(1).mT @ v) + mixed)
        return self.head(x[:, 0])


def test_layers_that_two_blocks_share_are_not_recurrent() -> None:
    structure = find_structure(SharedPositions(), (SERIES,))
    assert "recurrent" not in weights(structure).values()
    assert {name for name, part in weights(structure).items() if part == "branch_end"} >= {"proj.0.weight", "proj.1.weight"}


class MatrixMemory(nn.Module):
    """The mLSTM of xLSTM (Beck et al. 2024): an exponential input gate, whose sum divides what is read."""

    def __init__(self, is_stabilized: bool) -> None:
        super().__init__()
        self.is_stabilized = is_stabilized
        self.stem, self.out, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.input, self.forget = nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        q, k, v, i, f, o = (m(x) for m in (self.query, self.key, self.value, self.input, self.forget, self.out))
        memory, norm, largest, read = x.new_zeros(len(x), 8, 8), x.new_zeros(len(x), 8), x.new_zeros(len(x), 1), []
        for t in range(x.shape[1]):
            if self.is_stabilized:
                kept = F.logsigmoid(f[:, t]) + largest
                largest = torch.maximum(kept, i[:, t])
                new, keep = torch.exp(i[:, t] - largest), torch.exp(kept - largest)
            else:
                new, keep = torch.exp(i[:, t]), torch.sigmoid(f[:, t])
            memory = keep[..., None] * memory + new[..., None] * (v[:, t, :, None] * k[:, t, None])
            norm = keep * norm + new * k[:, t]
            size = (norm * q[:, t]).sum(-1, keepdim=True).abs()
            read.append((memory @ q[:, t, :, None])[..., 0] / torch.maximum(size, torch.exp(-largest)))
        return self.head(o.sigmoid() * torch.stack(read, 1))


@pytest.mark.parametrize("is_stabilized", [False, True])
def test_exponential_gates_are_gates(is_stabilized: bool) -> None:
    parts = find_parts(MatrixMemory(is_stabilized), (torch.randn(2, 4, 4),))
    gates = [name for name, part in parts.items() if part == "gate"]
    assert sorted(gates) == ["forget.weight", "input.weight", "out.weight"]
    assert parts["query.weight"] == parts["key.weight"] == parts["value.weight"] == "trunk"


class Dynamics(nn.Module):
    """A state that each step's action and then residual blocks change, as in MuZero; zeros at first, or made of the input."""

    def __init__(self, is_zero: bool) -> None:
        super().__init__()
        self.is_zero = is_zero
        self.stem, self.step, self.head = nn.Linear(4, 8), nn.Linear(8 + 4, 8), nn.Linear(8, 2)
        self.inner, self.last = (nn.ModuleList(nn.Linear(8, 8) for _ in range(2)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x[:, 0]).relu()
        h = torch.zeros_like(h) if self.is_zero else h
        for t in range(1, x.shape[1]):
            h = self.step(torch.cat([h, x[:, t]], -1)).relu()
            for inner, last in zip(self.inner, self.last, strict=True):
                h = h + last(inner(h).relu())
        return self.head(h)


@pytest.mark.parametrize("is_zero", [False, True])
@pytest.mark.parametrize("steps", [2, 3])
def test_residual_blocks_of_a_step_are_residual_blocks(steps: int, is_zero: bool) -> None:
    structure = find_structure(Dynamics(is_zero), (SERIES[:, : steps + 1],))
    parts = {name: part for name, part in weights(structure).items() if name != "stem.weight"}
    assert parts == {
        "step.weight": "recurrent",
        "head.weight": "head",
        **{f"inner.{i}.weight": "branch" for i in range(2)},
        **{f"last.{i}.weight": "branch_end" for i in range(2)},
    }


class Iterated(nn.Module):
    """Latents that attend to the same memory three times, by shared layers, as in Perceiver (Jaegle et al. 2021)."""

    def __init__(self, is_made_anew: bool) -> None:
        super().__init__()
        self.is_made_anew = is_made_anew
        self.stem, self.q, self.kv, self.out = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(8, 8)
        self.inner, self.last, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, memory: Tensor, latents: Tensor) -> Tensor:
        memory = self.stem(memory)
        once = self.kv(memory)
        for _ in range(3):
            k, v = (self.kv(memory) if self.is_made_anew else once).chunk(2, -1)
            latents = latents + self.out((self.q(latents) @ k.transpose(1, 2)).softmax(-1) @ v)
            latents = latents + self.last(self.inner(latents).relu())
        return self.head(latents)


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_what_reads_the_same_memory_at_each_step_is_no_recurrence(is_made_anew: bool) -> None:
    assert weights(find_structure(Iterated(is_made_anew), (SERIES, torch.ones(3, 2, 8)))) == {
        "stem.weight": "stem",
        "q.weight": "query",
        "kv.weight": "key",
        "out.weight": "branch_end",
        "inner.weight": "branch",
        "last.weight": "branch_end",
        "head.weight": "head",
    }
