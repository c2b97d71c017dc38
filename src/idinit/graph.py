"""The graph of one forward pass, in a form that is easy to walk.

`torch.export` records the operators of a forward pass as PyTorch's Python functions call them (``linear``, ``layer_norm``,
``scaled_dot_product_attention``), each with the modules it was called in. A model that will not export (its control flow
depends on values, say) is run once on the real input under `make_fx`, which records the same operators.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map_only

from .analysis.node import Graph
from .analysis.recorder import Recorder
from .errors import UsageError

Inputs = tuple[Any, ...] | Mapping[str, Any]


def capture(model: nn.Module, example_inputs: Inputs, *, training: bool = False) -> Graph:
    """Records one forward pass; the model is left exactly as it was.

    Args:
        model: Any module; on any device, the meta device included.
        example_inputs: The forward pass' positional arguments, or a mapping of its keyword arguments; they are moved to the
            model's device.
        training: Whether the model is in training mode, which auxiliary heads need, instead of evaluation mode.

    Raises:
        UsageError: If the model does not run on these inputs.
    """
    given: object = example_inputs
    if isinstance(given, Tensor):  # would be taken apart into a tuple of its rows
        raise UsageError(
            "example_inputs is a tensor: give a tuple of positional arguments, (x,), or a dict of keyword arguments"
        )
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    inputs = tree_map_only(Tensor, lambda tensor: tensor.to(device), example_inputs)
    args, kwargs = ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})
    recorder = Recorder(model)
    with _left_as_it_was(model), _outputs_noted() as tensors_only:
        model.train(training)
        model.register_forward_hook(lambda _module, _args, output: _tensors_in(output))  # caches and the like do not export
        try:
            with redirect_stderr(io.StringIO()):  # where export prints the graph up to what it cannot do
                program = torch.export.export(model, args, kwargs, strict=False)
        except Exception:  # export has no common error type, and running the model is the judge in any case
            tensors_only.clear()
            recorder.run(_trace(model, args, kwargs), {}, {})
        else:
            signature = program.graph_signature
            names = signature.inputs_to_parameters | signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
            recorder.run(program.graph_module, names, program.constants)
        hookable = {name for name, module in model.named_modules() if tensors_only.get(id(module.__dict__))}
    return Graph(recorder.nodes, hookable)


def _trace(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.GraphModule:
    """Runs the model on the real inputs and records the operators."""

    def call(args: Any, kwargs: Any) -> Any:
        return model(*args, **kwargs)

    call._orig_mod = model  # type: ignore[attr-defined]  # whose modules are recorded with the operators
    try:
        trace = make_fx(call, pre_dispatch=True, record_module_stack=True, _error_on_data_dependent_ops=False)
        return trace(args, kwargs)
    except Exception as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(
            f"the model does not run on example_inputs ({type(error).__name__}: {reason}): "
            "give a tuple of its positional arguments or a dict of its keyword arguments"
        ) from error


@contextmanager
def _outputs_noted() -> Iterator[dict[int, bool]]:
    """Notes of each module that is called whether it returns one tensor and nothing else.

    Modules are told by their attributes' dictionary: export runs shared modules through stand-ins, which share it.
    """
    tensors_only: dict[int, bool] = {}

    def note(module: nn.Module, _args: Any, output: Any) -> None:
        key = id(module.__dict__)
        tensors_only[key] = isinstance(output, Tensor) and tensors_only.get(key, True)

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield tensors_only
    finally:
        handle.remove()


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Restores modules' attributes, buffers' values, random state and attention's fast path afterwards."""
    saved = [(m, {k: (v, _copy(v)) for k, v in m.__dict__.items()}) for m in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not b.is_meta]
    devices = {p.device.index for p in model.parameters() if p.is_cuda}
    muted = logging.root.manager.disable
    logging.disable(logging.WARNING)  # export reports what it cannot do; the fallback can
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator would hide attention's weights
    try:
        with torch.random.fork_rng(devices=devices), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(muted)
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for module, attributes in saved:
            module.__dict__.clear()
            module.__dict__.update({name: _restored(*values) for name, values in attributes.items()})
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict, set)) else value


def _restored(value: Any, content: Any) -> Any:
    """The container itself with its old content: handles of hooks, for one, refer to the container."""
    if isinstance(value, list):
        value[:] = content
    elif isinstance(value, (dict, set)):
        value.clear()
        value.update(content)
    return value


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in items for tensor in _tensors_in(item)]
