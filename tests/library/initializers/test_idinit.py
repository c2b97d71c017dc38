"""The trunk passes its input: unchanged where no shortcut helps, up to what the branches add where one does."""

import pytest
import torch
from torch import nn

from idinit.initialize import initialize_
from idinit.parts import Branch, Structure

DEPTHS = [2, 30, 1000]


class Block(nn.Module):
    """x + outer(relu(inner(x)))."""

    def __init__(self, inner, outer):
        super().__init__()
        self.branch = nn.Sequential(inner, nn.ReLU(), outer)

    def forward(self, x):
        return x + self.branch(x)


def _plain(layers):
    """Layers with a ReLU after each, all on the trunk."""
    model = nn.Sequential(*(module for layer in layers for module in (layer, nn.ReLU())))
    parts = {name: "trunk" if name.endswith("weight") else "bias" for name, _ in model.named_parameters()}
    return model, Structure(parts, ())


def _residual(blocks):
    model = nn.Sequential(*blocks)
    parts, branches = {}, []
    for i in range(len(model)):
        weights = (f"{i}.branch.0.weight", f"{i}.branch.2.weight")
        branches.append(Branch(weights, f"{i}.branch"))
        parts |= dict(zip(weights, ("branch", "branch_end"), strict=True))
        parts |= {f"{i}.branch.0.bias": "bias", f"{i}.branch.2.bias": "bias"}
    return model, Structure(parts, tuple(branches))


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_plain_perceptron_passes_its_input_exactly(depth):
    model, structure = _plain(nn.Linear(12, 12) for _ in range(depth))
    initialize_(model, "idinit", parts=structure)
    x = torch.rand(3, 12)
    assert torch.equal(model(x), x)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("layout", "kernel"), [("channel", 3), ("channel", 1), ("patch", 1), ("spatial", 1)])
def test_a_plain_convolutional_network_passes_its_input_exactly(depth, layout, kernel):
    model, structure = _plain(nn.Conv2d(6, 6, kernel, padding="same") for _ in range(depth))
    initialize_(model, "idinit", parts=structure, layout=layout)
    x = torch.rand(2, 6, 4, 4)
    assert torch.equal(model(x), x)


def test_a_patch_of_a_larger_kernel_moves_the_image():
    """Why the last test leaves patch and 3x3 out: nine outputs take the nine positions of one input channel in turn."""
    model, structure = _plain([nn.Conv2d(9, 9, 3, padding=1)])
    initialize_(model, "idinit", parts=structure)
    x = torch.rand(1, 9, 5, 5)
    padded = nn.functional.pad(x[0, 0], (1, 1, 1, 1))
    expected = torch.stack([padded[i : i + 5, j : j + 5] for i in range(3) for j in range(3)])
    assert torch.equal(model(x)[0], expected)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("network", "layout"),
    [
        ("perceptron", "patch"),
        ("transformer", "patch"),
        *(("convolutions", layout) for layout in ("patch", "spatial", "channel")),
    ],
)
def test_a_residual_network_passes_its_input(depth, network, layout, deep_transformer):
    """Each branch adds at most 2 eps of the largest input: 1e-6 in all is a matter of eps."""
    if network == "perceptron":
        model, structure = _residual(Block(nn.Linear(12, 12), nn.Linear(12, 12)) for _ in range(depth))
        x = torch.rand(3, 12)
    elif network == "convolutions":
        model, structure = _residual(Block(*(nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))) for _ in range(depth))
        x = torch.rand(2, 6, 4, 4)
    else:
        model, structure = deep_transformer(depth)
        x = torch.rand(2, 5, 16)
    branches = len(structure.branches)
    initialize_(model, "idinit", parts=structure, layout=layout)
    inner = 4 if network == "transformer" else x.abs().max().item()  # a norm comes first: at most sqrt(16) after it
    with torch.no_grad():
        assert (model(x) - x).abs().max() <= 2.1e-6 * branches * inner
        initialize_(model, "idinit", parts=structure, layout=layout, eps=1e-10)
        assert (model(x) - x).abs().max() <= 1e-6
