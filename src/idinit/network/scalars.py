"""Scalars, learnable or constant, that initializers add to a network without touching its forward code.

A `Scalar` holds one number. It is registered as a child of the module that owns a weight, so it is trained, saved and
copied with the network, and it acts through forward (pre-)hooks: it shifts the input, scales the output or shifts the
output of one module or several.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError

Kind = Literal["input_bias", "output_scale", "output_bias"]
Decayed = Literal["all", "weights"]


class Scalar(nn.Module):
    """One number, added to or multiplied with what flows through a module.

    Attributes:
        value: The number, a parameter of shape [1], or a buffer where it is a constant.
        kind: ``input_bias`` (x + value before the module), ``output_scale`` (value * y) or ``output_bias`` (y + value).
        lr_scale: Factor on the learning rate of ``value``: 0.1 for Fixup, 1 for ReZero and SkipInit.
    """

    value: Tensor

    def __init__(self, kind: Kind, value: float, lr_scale: float = 1.0, learnable: bool = True) -> None:
        super().__init__()
        number = torch.full((1,), float(value))
        if learnable:
            self.value = nn.Parameter(number)
        else:
            self.register_buffer("value", number)
        self.kind = kind
        self.lr_scale = lr_scale
        self._inputs: tuple[str, ...] = ()  # what the modules it acts on call their input, when they are called by keyword

    def _value_for(self, module: nn.Module, dtype: torch.dtype) -> Tensor:
        """The number as it acts on a module: a replica of nn.DataParallel has hooks of the original, on another device."""
        if getattr(module, "_is_replica", False):
            raise UsageError("nn.DataParallel copies modules without the scalars that act on them: use DistributedDataParallel")
        return self.value.to(dtype)

    # The hooks are bound methods: copying a network copies them bound to the copied scalar. The value takes the dtype
    # of what flows through, or it would promote half-precision activations to float32.
    def _shift_input(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (args[0] + self._value_for(module, args[0].dtype), *args[1:]), kwargs
        name = next(key for key in kwargs if key in self._inputs)
        return args, {**kwargs, name: kwargs[name] + self._value_for(module, kwargs[name].dtype)}

    def _scale_output(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output * self._value_for(module, output.dtype)

    def _shift_output(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output + self._value_for(module, output.dtype)

    def act_on(self, module: nn.Module) -> None:
        """Makes the scalar act on ``module``, after the scalars that already do."""
        if self.kind == "input_bias":
            self._inputs += tuple(inspect.signature(module.forward).parameters)[:1]
            module.register_forward_pre_hook(self._shift_input, with_kwargs=True)
        else:
            module.register_forward_hook(self._scale_output if self.kind == "output_scale" else self._shift_output)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Loads the number; in what was saved before the scalar was added it changes nothing."""
        neutral = 1.0 if self.kind == "output_scale" else 0.0
        state_dict.setdefault(f"{prefix}value", torch.full_like(self.value, neutral))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"{self.kind}, lr_scale={self.lr_scale}"


def scalar_name(owner: nn.Module, kind: Kind) -> str:
    """What a scalar is called in the module that saves it: its kind, unless something else there is called so."""
    name: str = kind
    while hasattr(owner, name) and not isinstance(getattr(owner, name), Scalar):
        name = f"added_{name}"
    return name


def attach_scalar(scalar: Scalar, owner: nn.Module, *modules: nn.Module) -> None:
    """Registers a scalar as the child `scalar_name` of a module and makes it act on modules.

    Args:
        scalar: The scalar; it takes the device and dtype of the owner's first parameter.
        owner: The module that saves it; not a container, which would run its child as a layer.
        *modules: Where it acts; several share the one number.
    """
    _make_compiled_code_check_hooks()
    like = next(owner.parameters())
    owner.add_module(scalar_name(owner, scalar.kind), scalar.to(device=like.device, dtype=like.dtype))
    for module in modules:
        scalar.act_on(module)


def _make_compiled_code_check_hooks() -> None:
    """Keeps torch.compile from running code that was compiled for a network without these scalars.

    By default Dynamo takes modules for equal whatever their hooks are: code compiled for a network without scalars
    would run, and ignore them, for one of the same classes with scalars. What was compiled that way before is
    forgotten.
    """
    import torch._dynamo  # slow to import, and needed by nobody who adds no scalar

    if torch._dynamo.config.skip_nnmodule_hook_guards:
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        torch._dynamo.reset()


def detach_scalars(model: nn.Module) -> None:
    """Removes every scalar, and what it does, from a network."""
    for module in list(model.modules()):
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [k for k, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), Scalar)]:
                del hooks[key]
        for name in [n for n, child in module.named_children() if isinstance(child, Scalar)]:
            delattr(module, name)


def named_scalars(model: nn.Module) -> Iterator[tuple[str, Scalar]]:
    """The scalars of a network with their dotted names."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, Scalar))


def param_groups(model: nn.Module, lr: float, weight_decay: float = 0.0, decay: Decayed = "all") -> list[dict[str, Any]]:
    """Parameter groups for a torch optimizer, with each scalar's own learning rate.

    Scalars are identified by their type, not by a name: a classifier's bias keeps the full rate (Fixup's own code slows
    down every parameter with "bias" in its name).

    Args:
        model: The network, wrapped or not.
        lr: Learning rate of everything but scalars; a scalar gets ``lr * lr_scale``.
        weight_decay: Weight decay of what is decayed.
        decay: ``all`` decays every parameter, scalars too, as Fixup's authors do; ``weights`` only tensors of two
            dimensions and more.

    Returns:
        Groups with the keys ``params``, ``lr`` and ``weight_decay``, none empty, in the order of
        ``model.parameters()``.
    """
    lr_scales = {scalar.value: scalar.lr_scale for _, scalar in named_scalars(model)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            decayed = decay == "all" or parameter.ndim >= 2
            key = (lr * lr_scales.get(parameter, 1.0), weight_decay if decayed else 0.0)
            groups.setdefault(key, []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
