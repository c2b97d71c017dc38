"""The graph of one forward pass, in a form that is easy to walk.

`torch.export` records the operators of a forward pass as PyTorch's Python functions call them (``linear``, ``layer_norm``,
``scaled_dot_product_attention``), each with the modules it was called in. A model that will not export (its control flow
depends on values, say) is run once on the real input under `make_fx`, which records the same operators.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from .node import Graph
from .probe import Inputs, call_arguments, does_not_run, preserve_state, tensors_in
from .recorder import Recorder


def capture(model: nn.Module, example_inputs: Inputs, *, training: bool = False) -> Graph:
    """Records one forward pass; the model is left exactly as it was.

    Args:
        model: Any module; on any device, the meta device included.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones; they are moved to the
            model's device.
        training: Whether the model is in training mode, which auxiliary heads need, instead of evaluation mode.

    Raises:
        UsageError: If the model does not run on these inputs.
    """
    args, kwargs = call_arguments(model, example_inputs)
    recorder = Recorder(model)
    with preserve_state(model), _attention_unfused(), _record_outputs() as tensors_only:
        model.train(training)
        model.register_forward_hook(lambda _module, _args, output: tensors_in(output))  # caches and the like do not export
        try:
            with redirect_stderr(io.StringIO()):  # where export prints the graph up to what it cannot do
                program = torch.export.export(model, args, kwargs, strict=False)
            _require_known_sizes(program)
        except Exception:  # export has no common error type, and running the model decides in any case
            tensors_only.clear()
            recorder.run(_trace(model, args, kwargs), {}, {})
        else:
            signature = program.graph_signature
            names = signature.inputs_to_parameters | signature.inputs_to_buffers | signature.inputs_to_lifted_tensor_constants
            recorder.run(program.graph_module, names, program.constants)
        hookable = {name for name, module in model.named_modules() if tensors_only.get(id(module.__dict__))}
    return Graph(recorder.nodes, hookable)


def _require_known_sizes(program: torch.export.ExportedProgram) -> None:
    """Makes sure that no size depends on values, as the number of tokens that an expert gets does.

    Raises:
        ValueError: If one does: it could not be compared with others.
    """
    from torch.fx.experimental.symbolic_shapes import free_unbacked_symbols  # which export has imported

    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor) and free_unbacked_symbols(value):
            raise ValueError(f"the size of '{node.name}' depends on values")


def _trace(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.GraphModule:
    """Runs the model on the real inputs and records the operators."""

    def call(args: Any, kwargs: Any) -> Any:
        return model(*args, **kwargs)

    call._orig_mod = model  # type: ignore[attr-defined]  # whose modules are recorded with the operators
    try:
        trace = make_fx(call, pre_dispatch=True, record_module_stack=True, _error_on_data_dependent_ops=False)
        return trace(args, kwargs)
    except Exception as error:
        raise does_not_run(error) from error


@contextmanager
def _record_outputs() -> Iterator[dict[int, bool]]:
    """Notes for each module that is called whether it returns one tensor and nothing else.

    Modules are identified by their attributes' dictionary: export runs shared modules through stand-ins, which share it.
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
def _attention_unfused() -> Iterator[None]:
    """Keeps attention from being one fused operator, which would hide its weights."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
