"""Trying a model out: calls and gradients that leave it as it was."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Distribution
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

from ..errors import UsageError

Inputs = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]


def require_model(model: object) -> None:
    """Makes sure that a model is one, and that new tensors hold values.

    Raises:
        UsageError: If it is something else, or ``torch.device("meta")`` is in force.
    """
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise UsageError(f"the model is the class {model.__name__}: give an instance, {model.__name__}()")
    if not isinstance(model, nn.Module):
        raise UsageError(f"the model has type {type(model).__name__}, not torch.nn.Module: it is the first argument")
    if torch.get_default_device().type == "meta":
        raise UsageError("torch.device('meta') is in force, under which new tensors hold no values: call outside of it")


def call_arguments(model: nn.Module, example_inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and the keyword arguments of a call, on the model's device.

    A tensor is the one positional argument. A list is a batch of a data loader: what follows the arguments that ``forward``
    requires, such as labels, is left out.

    Raises:
        UsageError: If ``example_inputs`` is neither a tensor nor a collection of arguments, or holds a tensor without values.
    """
    given: object = example_inputs
    if not isinstance(given, (Tensor, tuple, list, Mapping)):
        raise UsageError(
            f"example_inputs has type {type(given).__name__}: give a tensor, a tuple of positional arguments or a dict of "
            "keyword ones"
        )
    if isinstance(example_inputs, Tensor):
        example_inputs = (example_inputs,)
    elif isinstance(example_inputs, list):
        example_inputs = tuple(example_inputs[: _required(model)])
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    inputs = tree_map_only(Tensor, lambda tensor: _usable(tensor, device), example_inputs)
    return ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})


def _required(model: nn.Module) -> int:
    """The number of positional arguments that a forward pass requires, at least one."""
    parameters = inspect.signature(model.forward).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return max(1, sum(p.kind in kinds and p.default is p.empty for p in parameters))


def _usable(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device, such that autograd may save it."""
    if tensor.is_meta and device.type != "meta":
        raise UsageError("example_inputs holds a tensor on the meta device, which has no values: give one on the CPU")
    moved = tensor.to(device)
    return moved.clone() if moved.is_inference() else moved


def does_not_run(error: Exception) -> UsageError:
    """What to raise where a model's forward pass fails."""
    reason = str(error).strip().split("\n", 1)[0]
    return UsageError(
        f"the model does not run on example_inputs ({type(error).__name__}: {reason}): "
        "give a tuple of its positional arguments or a dict of its keyword arguments"
    )


def generic_loss(output: Any) -> Tensor:
    """A loss without a task: the mean of the outputs' elements, each with a random weight that is the same every time.

    Raises:
        UsageError: If no output can carry a gradient.
    """
    tensors = [torch.view_as_real(t) if t.is_complex() else t for t in tensors_in(output) if t.requires_grad]
    if not tensors:
        raise UsageError("no output of the model depends on its parameters")
    generator = Generator().manual_seed(0)
    weights = (torch.randn(t.shape, generator=generator).to(t.device) for t in tensors)
    return torch.stack([(t.float() * w).mean() for t, w in zip(tensors, weights, strict=True)]).sum()


def gradients(
    model: nn.Module, example_inputs: Inputs, values: Mapping[str, Tensor] | None = None
) -> tuple[list[Tensor], dict[str, Tensor | None]]:
    """One forward and backward pass in training mode, with `generic_loss`; the model is left as it was.

    Args:
        model: Any module.
        example_inputs: A tensor, a tuple of the forward pass' arguments, or a mapping of keyword ones.
        values: Values of parameters to use in place of the model's own, by name.

    Returns:
        The output's tensors, and the gradient of each parameter that requires one; None where there is no path to it.

    Raises:
        UsageError: If the model does not run on the inputs in training mode.
    """
    args, kwargs = call_arguments(model, example_inputs)
    own = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    leaves = {name: (values or {}).get(name, parameter).detach().requires_grad_() for name, parameter in own.items()}
    with preserve_state(model):
        model.train()
        try:
            output = functional_call(model, leaves, args, kwargs)
        except Exception as error:
            raise does_not_run(error) from error
        loss = generic_loss(output)
        _refuse_hidden(loss)
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return tensors_in(output), dict(zip(leaves, found, strict=True))


def _refuse_hidden(loss: Tensor) -> None:
    """Refuses a backward pass that runs parts of the forward pass again, with gradients that cannot be measured."""
    seen, queue = set(), [loss.grad_fn]
    while queue:
        node = queue.pop()
        if node is None or node in seen:
            continue
        if node.name() == "CheckpointFunctionBackward":
            raise UsageError(
                "the model uses torch.utils.checkpoint with use_reentrant=True, which hides its parameters from what measures "
                "gradients: set use_reentrant=False, or switch checkpointing off"
            )
        seen.add(node)
        queue += [following for following, _ in node.next_functions]


@contextmanager
def preserve_state(model: nn.Module) -> Iterator[None]:
    """Restores modules' attributes (mode and hooks among them), buffers' values and the random state afterwards.

    Random numbers are the same every time. Nothing is logged and no warning shown: what is tried here need not work.
    """
    restore = _saved(model, model.buffers())
    muted = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with own_randomness(p.device for p in model.parameters()), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(muted)
        restore()


@contextmanager
def unchanged_on_failure(model: nn.Module) -> Iterator[None]:
    """Restores modules' attributes and the values of parameters and buffers if what is done meanwhile fails."""
    restore = _saved(model, (*model.parameters(), *model.buffers()))
    try:
        yield
    except BaseException:
        restore()
        raise


@contextmanager
def own_randomness(devices: Iterable[torch.device]) -> Iterator[None]:
    """Random numbers that are the same every time, from states of their own on the CPU and on some devices.

    Generators of other devices are untouched; ``torch.manual_seed`` would seed them all.
    """
    used = set(devices)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.default_generator.manual_seed(0)
        for kind in {device.type for device in used} - {"cpu", "meta"}:
            module = torch.get_device_module(kind)
            if hasattr(module, "default_generators"):
                own = [device.index or 0 for device in used if device.type == kind]
                stack.enter_context(torch.random.fork_rng(devices=own, device_type=kind))
                for index in own:
                    module.default_generators[index].manual_seed(0)
            else:  # mps: one device
                stack.callback(module.set_rng_state, module.get_rng_state())
                module.manual_seed(0)
        yield


def _saved(model: nn.Module, tensors: Iterable[Tensor]) -> Callable[[], None]:
    """Notes modules' attributes and the values of some tensors; what it returns brings them back."""
    attributes = [(m, {k: (v, _copy(v)) for k, v in m.__dict__.items()}) for m in model.modules()]
    values = [(tensor, tensor.detach().clone()) for tensor in tensors if not tensor.is_meta]

    def restore() -> None:
        for module, own in attributes:
            module.__dict__.clear()
            module.__dict__.update({name: _restored(*pair) for name, pair in own.items()})
        with torch.no_grad():
            for tensor, value in values:
                if not torch.equal(tensor, value):
                    tensor.copy_(value)

    return restore


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


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists, mappings, data classes and distributions (their parameters)."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value) and not isinstance(value, (type, Mapping)):
        value = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Distribution):
        value = [_given(value)[name] for name in sorted(_given(value))]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for item in items for tensor in tensors_in(item)]


def _given(distribution: Distribution) -> dict[str, Any]:
    """The parameters that a distribution was made with, and the distributions that it is made of."""
    return {name: value for name, value in vars(distribution).items() if isinstance(value, (Tensor, Distribution))}
