"""One call that initializes a network with a named method and reports what it did."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import formatannotation
from typing import Any

from torch import Generator, nn

from .errors import UsageError
from .graph.capture import capture
from .graph.probe import Inputs, unchanged_on_failure
from .initializers import INITIALIZERS
from .initializers._default_rules import fill_rest
from .network import Network
from .network.report import Report
from .network.scalars import detach_scalars
from .parts import Part, Structure, find_structure
from .parts.structure import matching


@dataclass(frozen=True)
class Option:
    """An option of an initializer: its name, its type as text, its default."""

    name: str
    type: str
    default: Any


@dataclass(frozen=True)
class InitializerInfo:
    """What is known of an initializer.

    Attributes:
        name: What `initialize_` calls it.
        summary: What it does, in a line.
        paper: Where it is from.
        claims: Rows of the paper's claims table in which it takes part.
        options: Its options.
        needs: What the network must be like; keys of `NEEDS`.
    """

    name: str
    summary: str
    paper: str
    claims: tuple[str, ...]
    options: tuple[Option, ...]
    needs: tuple[str, ...]


def initialize_(
    model: nn.Module,
    method: str,
    example_inputs: Inputs | None = None,
    *,
    parts: Structure | Mapping[str, Part] | None = None,
    keep: str | Sequence[str] = (),
    generator: Generator | None = None,
    seed: int | None = None,
    **options: Any,
) -> Report:
    """Initializes a network in place.

    Scalars that an earlier call added are removed first: calling twice, or with another method, is the same as calling
    once. Initialize before compiling, wrapping (DDP, FSDP) and making the optimizer. torch's global random state is neither
    read nor changed. What was saved before scalars were added still loads, and then they change nothing. Models of Hugging
    Face keep their values when their ``post_init`` or ``init_weights`` is called later; their ``from_pretrained`` makes a
    network without scalars.

    A model on the meta device gets memory first, ``model.to_empty(device=...)``; every parameter is then filled but those
    that the report lists as left alone. Buffers other than running statistics are not: what the model's code put into them
    when it was made, tables of positions and the like, must be put there again before this call.

    Args:
        model: Any network, on any device, in any floating dtype.
        method: Name of an initializer; see `list_initializers`.
        example_inputs: Arguments of one forward pass, from which the parts of the weights are found: a tuple of
            positional ones or a mapping of keyword ones. None only where ``parts`` is a whole `Structure`.
        parts: Overrides, {shell pattern of parameter names: part}, the last match winning, as in
            ``{"patch_embed.*": "stem"}``, which leaves its bias a bias; or a `Structure`, which is then taken as it is.
        keep: Shell pattern, or patterns, of the names of parameters that keep their values, such as pretrained word vectors.
        generator: CPU generator of all randomness.
        seed: Seed of a fresh generator, where none is given; 0 by default. The same seed gives the same bytes.
        **options: Options of the method.

    Returns:
        A report with a row for every parameter.

    Raises:
        UsageError: If a name, an option or an override is not valid, or the method cannot do this network. The network
            is then as it was, as after any other error.
    """
    checked = INITIALIZERS.check(method, options)
    if generator is not None and seed is not None:
        raise UsageError("give either generator or seed, not both")
    if generator is not None and generator.device.type != "cpu":
        raise UsageError(f"generator is on '{generator.device}'; the same bytes everywhere need torch.Generator() on the CPU")
    _refuse_wrapped(model)
    generator = generator or Generator().manual_seed(seed or 0)

    kept = _kept(model, [keep] if isinstance(keep, str) else keep)
    _refuse_complex(model, kept)
    with unchanged_on_failure(model):
        detach_scalars(model)
        structure = _structure(model, example_inputs, parts)
        entry = INITIALIZERS[method]
        net = Network(model, structure, generator, method, kept, example_inputs)
        for need in entry.facts["needs"]:
            if problem := NEEDS[need](net):
                raise UsageError(f"initializer '{method}' {problem}")
        entry.build(net, **checked)
        fill_rest(net)
    _keep_from_hugging_face(model)
    return Report(method, checked, tuple(net.rows()), weakref.ref(model), example_inputs)


_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel", "OptimizedModule")
_SHARDED = {"FullyShardedDataParallel", "FSDPModule"}


def _refuse_wrapped(model: nn.Module) -> None:
    """Refuses a model whose parameters are not there, or not under their own names."""
    if type(model).__name__ in _WRAPPERS:
        inner = "_orig_mod" if hasattr(model, "_orig_mod") else "module"
        raise UsageError(
            f"the model is wrapped in {type(model).__name__}: initialize what it wraps, model.{inner}, before wrapping"
        )
    if next(model.parameters(), None) is None:
        raise UsageError("the model has no parameters: a quantized one is initialized before it is quantized")
    for module in model.modules():
        if {base.__name__ for base in type(module).__mro__} & _SHARDED:
            raise UsageError("the model is sharded over processes: initialize it before fully_shard")
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise UsageError(
                f"the model is on the meta device, which holds no values; call model.to_empty(device=...) first{_ties(model)}"
            )
        if hasattr(parameter, "device_mesh"):
            raise UsageError(f"'{name}' is distributed over processes: initialize the model before it is")


def _ties(model: nn.Module) -> str:
    """What else to do for a model on the meta device whose parameters are tied: ``to_empty`` gives each name its own memory."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    tied = next((own for own in names.values() if len(own) > 1), None)
    return f", and tie '{tied[1]}' to '{tied[0]}' again: it would have memory of its own" if tied else ""


def _refuse_complex(model: nn.Module, kept: Mapping[str, str]) -> None:
    for name, parameter in model.named_parameters():
        if parameter.is_complex() and name not in kept:
            raise UsageError(
                f"'{name}' is complex, and the methods are defined for real weights: leave complex ones alone, keep=('{name}',)"
            )


def _keep_from_hugging_face(model: nn.Module) -> None:
    """Tells models of Hugging Face that their weights are initialized, or their ``init_weights`` would do it again."""
    if any(hasattr(module, "_init_weights") for module in model.modules()):
        for module in model.modules():
            module._is_hf_initialized = True  # type: ignore[assignment]  # the flag they look at


def _kept(model: nn.Module, patterns: Sequence[str]) -> dict[str, str]:
    """The parameters that nothing may change, and why."""
    frozen = {name: "frozen, it takes no gradient" for name, p in model.named_parameters() if not p.requires_grad}
    names = [name for name, _ in model.named_parameters()]
    return frozen | {name: "kept, as asked" for pattern in patterns for name in matching(pattern, names, "keep")}


def list_initializers() -> tuple[InitializerInfo, ...]:
    """What there is to choose from, by name."""
    infos = []
    for name in INITIALIZERS:
        entry = INITIALIZERS[name]
        options = tuple(
            Option(key, formatannotation(field.annotation), field.default) for key, field in entry.options.model_fields.items()
        )
        infos.append(InitializerInfo(name, entry.summary, options=options, **entry.facts))
    return tuple(infos)


def _structure(model: nn.Module, example_inputs: Inputs | None, parts: Structure | Mapping[str, Part] | None) -> Structure:
    if isinstance(parts, Structure):
        return parts
    if example_inputs is None:
        raise UsageError("the parts of the network are found from a forward pass: give example_inputs=(x,)")
    return find_structure(model, example_inputs, overrides=parts)


def _lacks_branches(net: Network) -> str:
    if net.branches:
        return ""
    return "acts on residual branches, and the network has none: use a network with shortcuts, or init=kaiming"


def _lacks_attention(net: Network) -> str:
    if net.structure.heads:
        return ""
    return (
        "is for attention with one weight each for queries, keys, values and output, and the network has none: "
        "use a transformer, or init=idinit"
    )


def _has_norm(net: Network) -> str:
    norm = next((name for name, part in net.structure.parts.items() if part == "norm"), None)
    if norm is None:
        return ""
    return f"replaces normalization, and the network has it ('{norm}'): use a network without (model.norm=none), or init=rezero"


def _lacks_end_norm(net: Network) -> str:
    for branch in net.branches:
        if f"{branch.end_norm}.weight" not in net.structure.parts:
            return (
                "starts the last normalization of each residual branch at zero, and none follows the branch_end "
                f"'{branch.end}': use a network with norms (model.norm=batch)"
            )
    return ""


def _lacks_sum_norm(net: Network) -> str:
    for branch in net.branches:
        if branch.sum_norm is None:
            return (
                "weighs the two sides of each residual sum before a normalization, and none follows the sum after the "
                f"branch_end '{branch.end}': use a transformer with the norm after the sum (post-norm), or init=idinit"
            )
    return ""


def _lacks_sines(net: Network) -> str:
    if problem := _lacks_inputs(net):
        return problem
    if any(node.op == "sin" and node.inputs[0].op != "constant" for node in capture(net.model, net.example_inputs or ()).nodes):
        return ""
    return "is for networks whose activation is a sine, and this one computes none: use init=kaiming"


def _lacks_inputs(net: Network) -> str:
    return "measures what flows through the network: give example_inputs=(x,)" if net.example_inputs is None else ""


# What a method may need of a network: the problem in words, or nothing.
NEEDS: dict[str, Callable[[Network], str]] = {
    "branches": _lacks_branches,
    "attention": _lacks_attention,
    "no_norm": _has_norm,
    "end_norm": _lacks_end_norm,
    "sum_norm": _lacks_sum_norm,
    "inputs": _lacks_inputs,
    "sine": _lacks_sines,
}
