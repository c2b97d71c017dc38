"""Which networks share compiled code; that they train alike is tested with the loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from idinit import initialize_
from idinit_suite.data import Images, MaskedTokens, Sentences
from idinit_suite.models import MODELS
from idinit_suite.training.compile_cache import CompiledNetworks

SPECS = {
    "vit": Images((3, 32, 32), 10),
    "text_transformer": Sentences(50, 12, 0, 2, torch.zeros(50, 8)),
    "bert": MaskedTokens(50, 12, 0),
}
SMALL = {"width": 16, "depth": 1}


def make(name: str, spec: Any = None, **options: Any) -> tuple[nn.Module, dict[str, Any]]:
    section = {**SMALL, **options}
    return MODELS[name].build(spec or SPECS[name], **section), {"name": name, **section}


@pytest.mark.parametrize("name", SPECS)
def test_networks_that_differ_in_heads_alone_are_not_shared(name: str) -> None:
    compiled = CompiledNetworks()
    first, others = make(name, heads=2), [make(name, heads=heads) for heads in (2, 4)]
    assert compiled.get_or_compile(*first)[0] is first[0]
    assert [compiled.get_or_compile(*other)[0] is first[0] for other in others] == [True, False]


def test_networks_that_differ_in_what_they_do_not_save_are_not_shared() -> None:
    long = Sentences(50, 24, 0, 2, torch.zeros(50, 8))
    one, two = make("text_transformer", heads=2), make("text_transformer", long, heads=2)
    compiled = CompiledNetworks()
    assert compiled.get_or_compile(*one)[0] is not compiled.get_or_compile(*two)[0]


@pytest.mark.parametrize("method", ["fixup", "skipinit"])
def test_no_mask_is_saved_for_the_backward_pass_on_the_cpu(method: str) -> None:
    spec, images = Images((3, 8, 8), 10), torch.rand(2, 3, 8, 8)
    model = MODELS["resnet"].build(spec, depth=8, width=4)
    initialize_(model, method, (images,))
    CompiledNetworks().get_or_compile(model, {"name": "resnet"})
    saved: list[torch.dtype] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor.dtype)
        return tensor

    compiled = torch.compile(model, backend="aot_eager_decomp_partition")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        compiled(images)
    assert saved and torch.bool not in saved
