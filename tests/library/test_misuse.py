"""What a caller may get wrong ends in one line, or works."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idinit import UsageError, check_zeros, examine, find_parts, initialize_


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner, self.outer, self.head = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.outer(self.inner(x).relu()))


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "method", "inputs", "options", "message"),
    [
        (Net, "fixup", (X,), {}, "the model is the class Net: give an instance, Net()"),
        ("fixup", Net(), (X,), {}, "the model has type str, not torch.nn.Module"),
        (Net(), (X,), "fixup", {}, "the method has type tuple, not str: initialize_(model, 'idinit', "),
        (Net(), "fixup", "abc", {}, "example_inputs has type str: give a tensor, a tuple"),
        (Net(), "fixup", (X,), {"seed": "a"}, "seed='a': give an integer"),
        (Net(), "fixup", (X,), {"seed": True}, "seed=True: give an integer"),
        (Net(), "fixup", (X,), {"seed": 2**70}, f"seed={2**70}: give an integer"),
        (Net(), "fixup", (X,), {"generator": 3}, "generator has type int: give a torch.Generator()"),
        (Net(), "fixup", (X,), {"keep": None}, "keep=None: give a shell pattern"),
        (Net(), "fixup", (X,), {"replace": 3}, "replace=3: give a shell pattern"),
        (Net(), "fixup", (X,), {"keep": [3]}, "keep=[3]: give a shell pattern"),
        (Net(), "fixup", (X,), {"parts": "trunk"}, "parts='trunk': give {pattern of names of parameters: part}"),
        (Net(), "fixup", (X,), {"parts": {3: "stem"}}, "parts={3: 'stem'}: give {pattern of names of parameters: part}"),
        (Net(), "fixup", (X,), {"parts": {"*": 3}}, "override '*': unknown part '3'"),
        (Net(), "fixup", (X.to("meta"),), {}, "example_inputs holds a tensor on the meta device"),
    ],
)
def test_a_wrong_argument_is_one_line(model: object, method: object, inputs: object, options: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        initialize_(model, method, inputs, **options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["fixup", "idinit", "lsuv"])
def test_a_tensor_alone_is_the_one_argument(method: str) -> None:
    model, same = Net(), Net()
    report = initialize_(model, method, X)
    initialize_(same, method, (X,))
    torch.testing.assert_close(dict(model.state_dict()), dict(same.state_dict()), rtol=0, atol=0)
    assert find_parts(model, X) == find_parts(same, (X,)) == {row.parameter: row.part for row in report.rows}
    assert check_zeros(model, X) == check_zeros(same, (X,))
    assert examine(model, X) == examine(same, (X,))


@pytest.mark.parametrize("method", ["fixup", "skipinit", "idinit", "lsuv"])
def test_a_network_initialized_in_inference_mode_can_be_trained(method: str) -> None:
    model, same = Net(), Net()
    with torch.inference_mode():
        initialize_(model, method, (X.clone(),))
    initialize_(same, method, (X,))
    model(X).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not any(parameter.is_inference() for parameter in model.parameters())
    torch.testing.assert_close(dict(model.state_dict()), dict(same.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("look", [find_parts, examine, check_zeros])
def test_what_looks_at_a_network_wants_one_and_works_in_inference_mode(look: Callable[..., object]) -> None:
    with pytest.raises(UsageError, match=r"class Net: .*Net\(\)"):
        look(Net, (X,))
    with pytest.raises(UsageError, match="the model has type tuple"):
        look((X,), Net())
    model = Net()
    with torch.device("meta"), pytest.raises(UsageError, match=r"torch.device\('meta'\)"):
        look(model, (X,))
    with torch.inference_mode():
        seen = look(model, (X.clone(),))
    assert str(seen) == str(look(model, (X,)))


def test_a_seed_may_be_an_integer_of_numpy() -> None:
    model, same = Net(), Net()
    initialize_(model, "kaiming", (X,), seed=np.int64(3))  # type: ignore[arg-type]
    initialize_(same, "kaiming", (X,), seed=3)
    assert torch.equal(model.stem.weight, same.stem.weight) and torch.equal(model.inner.weight, same.inner.weight)


def test_a_network_made_in_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        model = Net()
    with pytest.raises(UsageError, match="'stem.weight'.*inference_mode"):
        initialize_(model, "kaiming", (X,))


def test_an_ambient_meta_device_is_refused() -> None:
    model = Net()
    with torch.device("meta"), pytest.raises(UsageError, match=r"torch.device\('meta'\)"):
        initialize_(model, "fixup", (X,))


def test_replicas_of_data_parallel_are_refused() -> None:
    model = Net()
    initialize_(model, "skipinit", (X,))
    replica = model.outer._replicate_for_data_parallel()
    replica.weight, replica.bias = model.outer.weight.detach(), model.outer.bias.detach()  # as nn.parallel.replicate does
    with pytest.raises(UsageError, match="DistributedDataParallel"):
        replica(X)


def test_a_checkpoint_with_scalars_needs_the_scalars_first() -> None:
    model, other = Net(), Net()
    initialize_(model, "skipinit", (X,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    initialize_(other, "skipinit", (X,), seed=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(X), model(X))
    plain = Net()
    assert plain.load_state_dict(model.state_dict(), strict=False).unexpected_keys == ["outer.output_scale.value"]
    assert not torch.allclose(plain(X), model(X))


def test_traced_networks_keep_their_scalars() -> None:
    model = Net()
    initialize_(model, "fixup", (X,))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    exported = torch.export.export(copy.deepcopy(model), (X,)).module()
    torch.testing.assert_close(exported(X), model(X))
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(X), model(X))
