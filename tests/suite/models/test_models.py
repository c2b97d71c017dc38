import pytest
import torch
from torch import nn

from idinit.errors import UsageError
from idinit_suite.data import Images
from idinit_suite.models import MODELS


def make(name: str, shape: tuple[int, ...] = (3, 32, 32), classes: int = 10, **options: object) -> nn.Module:
    return MODELS[name].build(Images(shape, classes), **MODELS.check(name, options))


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", [n for n in MODELS if MODELS[n].info.takes is Images and not MODELS[n].info.foreign])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 32, 32)])
def test_maps_a_batch_to_logits(name: str, shape: tuple[int, ...]) -> None:
    logits = make(name, shape, classes=7)(torch.randn(2, *shape))
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


# He et al. 2016, table 6, in millions; with BatchNorm and option A.
@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7), (1202, 19.4)])
def test_resnet_has_the_published_number_of_parameters(depth: int, millions: float) -> None:
    with torch.device("meta"):
        model = make("resnet", depth=depth, norm="batch")
    assert round(count(model) / 1e6, 1 if depth > 100 else 2) == millions


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("shortcut", ["pad", "projection"])
def test_resnet_counts_its_layers(norm: str, shortcut: str) -> None:
    model = make("resnet", depth=20, norm=norm, shortcut=shortcut)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len([c for c in convolutions if c.kernel_size == (3, 3)]) == 19
    assert len([c for c in convolutions if c.kernel_size == (1, 1)]) == (2 if shortcut == "projection" else 0)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == (len(convolutions) if norm == "batch" else 0)


def test_padded_shortcut_takes_every_second_pixel_and_adds_zero_channels() -> None:
    model = make("resnet", depth=8)
    block = model.get_submodule("stage2.0")
    nn.init.zeros_(block.get_parameter("branch.conv2.weight"))
    x = torch.rand(2, 16, 8, 8)
    expected = torch.zeros(2, 32, 4, 4)
    expected[:, :16] = x[:, :, ::2, ::2]
    assert torch.equal(block(x), expected)


def test_the_last_activation_is_after_the_sum_or_in_the_branch() -> None:
    x = -torch.rand(2, 16, 8, 8)
    for place, expected in (("sum", torch.zeros_like(x)), ("branch", x)):
        block = make("resnet", depth=8, last_activation=place).get_submodule("stage1.0")
        nn.init.zeros_(block.get_parameter("branch.conv2.weight"))
        assert torch.equal(block(x), expected)


def test_allconv_is_that_of_springenberg_et_al() -> None:
    # "approximately 1.3 M parameters" (section 3.1): 9 convolutions with biases
    model = make("allconv")
    widths = [96, 96, 96, 192, 192, 192, 192, 192, 10]
    kernels = [9] * 7 + [1, 1]
    expected = sum(i * o * k + o for i, o, k in zip([3, *widths], widths, kernels, strict=False))
    assert count(model) == expected == 1_369_738


@pytest.mark.parametrize("depth", [2, 5])
def test_mlp_has_as_many_layers_as_asked(depth: int) -> None:
    model = make("mlp", (4,), depth=depth, width=8)
    shapes = [tuple(m.weight.shape) for m in model.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(8, 4)] + [(8, 8)] * (depth - 2) + [(10, 8)]


def test_residual_mlp_adds_its_branches() -> None:
    model = make("residual_mlp", (4,), blocks=1, width=8, activation="tanh", bias=False)
    x = torch.randn(3, 4)
    stem, one, two, head = (m.weight for m in model.modules() if isinstance(m, nn.Linear))
    hidden = torch.tanh(x @ stem.T)
    hidden = hidden + torch.tanh(hidden @ one.T) @ two.T
    assert torch.allclose(model(x), hidden @ head.T, atol=1e-6)


def test_a_depth_that_is_not_6n_plus_2_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'depth=57'.* 6n \+ 2"):
        make("resnet", depth=57)


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="'nrom'.*'norm'"):
        make("resnet", nrom="batch")


# Dosovitskiy et al. 2021, table 1, and Touvron et al. 2021, table 1, in millions, with 1,000 classes.
@pytest.mark.parametrize(
    ("patch", "width", "heads", "millions"), [(32, 768, 12, 88), (16, 768, 12, 86), (16, 384, 6, 22), (16, 192, 3, 6)]
)
def test_vit_has_the_published_number_of_parameters(patch: int, width: int, heads: int, millions: int) -> None:
    with torch.device("meta"):
        model = make("vit", (3, 224, 224), 1000, patch=patch, width=width, heads=heads)
    assert abs(count(model) / 1e6 - millions) < 0.6


def test_vit_needs_whole_patches_and_heads() -> None:
    with pytest.raises(UsageError, match=r"model\.patch=5.* 32x32 "):
        make("vit", patch=5)
    with pytest.raises(UsageError, match=r"model\.heads=5 .*model\.width=192"):
        make("vit", heads=5)


def test_vit_needs_several_patches() -> None:
    message = r"model\.patch=32 .* 32x32 .* 1, 2, 4, 8, 16 \(model=vit_ti4 "
    with pytest.raises(UsageError, match=message):
        make("vit", patch=32)


# Tolstikhin et al. 2021, table 1, in millions, with 1,000 classes.
@pytest.mark.parametrize(("patch", "width", "depth", "millions"), [(32, 512, 8, 19), (16, 512, 8, 18), (16, 768, 12, 59)])
def test_mixer_has_the_published_number_of_parameters(patch: int, width: int, depth: int, millions: int) -> None:
    with torch.device("meta"):
        model = make("mixer", (3, 224, 224), 1000, patch=patch, width=width, depth=depth)
    assert abs(count(model) / 1e6 - millions) < 1


def test_mixer_needs_whole_patches() -> None:
    with pytest.raises(UsageError, match=r"model\.patch=5.* 32x32 "):
        make("mixer", patch=5)
