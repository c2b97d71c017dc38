from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from own_sets import build

from idinit.errors import UsageError

MADE = {
    "arrays": "np.full((3, 6, 6), i * 20, np.uint8)",
    "pil": "Image.new('L', (6, 6), i * 20)",
    "floats": "torch.full((5,), float(i))",
    "scalars": "float(i)",
    "features": "torch.full((5,), float(i), requires_grad=True)",
    "sparse": "torch.full((5,), float(i)).to_sparse()",
    "tokens": "torch.tensor([i % 4, 1, 0])",
}
SHAPES = {"arrays": (3, 6, 6), "pil": (1, 6, 6), "scalars": (1,), "tokens": (3,)}


@pytest.mark.parametrize("kind", MADE)
def test_python_data_of_each_kind(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"made_{kind}.py").write_text(
        "import numpy as np, torch\nfrom PIL import Image\n"
        f"def make(): return {{s: [({MADE[kind]}, np.int64(i % 3)) for i in range(12)] for s in ('train', 'test')}}\n"
    )
    monkeypatch.chdir(tmp_path)
    batches = build("python", tmp_path, target=f"made_{kind}:make")
    assert batches.splits == {"train": 11, "validation": 1, "test": 12}
    (inputs,), labels = batches.train_batch(0)
    assert inputs.shape == (4, *SHAPES.get(kind, (5,))) and labels.dtype == torch.int64
    assert inputs.dtype == (torch.int64 if kind == "tokens" else torch.float32)
    ((test,), _), *_ = batches.evaluation_batches("test")
    if kind == "floats":
        assert test[:, 0].tolist() == [0, 1, 2, 3]


def test_random_data_are_the_same_each_time_and_leave_the_random_states_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "noisy.py").write_text(
        "import random, numpy as np, torch\n"
        "class Noisy:\n"
        "    def __len__(self): return 20\n"
        "    def __getitem__(self, i): return torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()]), i % 2\n"
    )
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    np.random.seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = build("python", tmp_path, target="noisy:Noisy").checksum
    assert torch.equal(torch.get_rng_state(), states[0]) and np.array_equal(np.random.get_state()[1], states[1])
    torch.manual_seed(2)
    assert build("python", tmp_path, target="noisy:Noisy").checksum == first


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("make = 3", "it has type int"),
        ("def mke(): pass", "did you mean 'mke'"),
        ("def make(): return None", "not a Dataset"),
        ("def make(): return []", "not a Dataset"),
        ("def make(): return [1, 2]", "item 0: it must be a pair"),
        ("def make(): return [([1.0], 0), ([1.0, 2.0], 1)]", "item 1: torch.float32 of shape (2,), and item 0"),
        ("def make(): return [([float('nan')], 0), ([1.0], 1)]", "item 0: the input is torch.float32"),
        ("def make(): return [([1.0], None), ([1.0], 1)]", "item 0: the label is missing"),
        ("def make(): return {'dev': []}", "returned the splits dev"),
        ("def make(count): return []", "'count': give it as +data.options.count="),
        ("def make(): return [('a text', 0), ('b', 1)]", "item 0: the input has type str"),
        ("def make(): return [({'x': 1}, 0), ({'x': 2}, 1)]", "item 0: the input has type dict"),
        (
            "import torch\ndef make(): return [(torch.ones(3) > 0, 0), (torch.ones(3) > 1, 1)]",
            "item 0: the input is torch.bool",
        ),
        ("import torch\ndef make(): return [([1.0], torch.tensor([0, 1]))] * 9", "item 0: the label has type Tensor"),
        ("import torch\ndef make(): return [(torch.ones(9, 9, 3).byte(), 0)] * 9", "[C, H, W]"),
        (
            "from PIL import Image\ndef make(): return [(Image.new('F', (4, 4), 0.5), 0)] * 9",
            "item 0: the input has type Image (its pixels are floating-point",
        ),
        ("def make(): return [([1j], 0), ([1.0], 1)]", "item 0: the input is torch.complex64"),
        ("def make(): return [([], 0), ([], 1)]", "item 0: the input is torch.float32"),
    ],
)
def test_bad_python_data_get_one_line(code: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad_data.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("bad_data", None)
    with pytest.raises(UsageError) as caught:
        build("python", tmp_path, target="bad_data:make")
    assert problem in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no_such_module_here:f", "'no_such_module_here'"),
        ("math", "MODULE:NAME"),
        (":f", "MODULE:NAME"),
        ("./my_module:f", "MODULE:NAME"),
    ],
)
def test_a_target_that_is_not_there_is_told(target: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=problem):
        build("python", tmp_path, target=target)


def test_an_error_of_the_module_itself_passes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import a_module_nobody_has\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_nobody_has"):
        build("python", tmp_path, target="needs_more:f")
