"""One call that initializes a network with a named method and reports what it did."""

from __future__ import annotations

import fnmatch
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import formatannotation
from typing import Any

import torch
from torch import Generator, nn

from .errors import UsageError
from .graph.own_inputs import inputs_of
from .graph.probe import Inputs, unchanged_on_failure
from .initializers import INITIALIZERS
from .initializers._default_rules import fill_rest
from .network import Network
from .network.chosen import find_chosen, find_patterns, pattern_of
from .network.preconditions import require_arguments, require_initializable, require_real
from .network.report import Report
from .network.requirements import REQUIREMENTS
from .network.scalars import detach_scalars
from .network.stuck_zeros import require_no_stuck_zeros
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
    """Description of an initializer.

    Attributes:
        name: What `initialize_` calls it.
        summary: What it does, in a line.
        paper: The publication it is from.
        options: Its options.
        needs: What it requires of a network; see `idinit.network.requirements`.
    """

    name: str
    summary: str
    paper: str
    options: tuple[Option, ...]
    needs: tuple[str, ...]


@torch.inference_mode(False)  # scalars that are added could not be trained otherwise
def initialize_(
    model: nn.Module,
    method: str,
    example_inputs: Inputs | None = None,
    *,
    parts: Structure | Mapping[str, Part] | None = None,
    keep: str | Sequence[str] = (),
    replace: str | Sequence[str] = (),
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

    Scalars act through forward hooks. They train under DistributedDataParallel, torch.compile and torch.export;
    nn.DataParallel copies modules without them and is refused, and torch.jit.script cannot read them (torch.jit.trace can). To
    load a checkpoint that has scalars, initialize the new model with the same method first, which adds them: a plain model
    drops them under ``strict=False`` and computes something else. Forward hooks of your own fire during the call, as the
    model is run.

    During the call, memory holds a copy of the parameters and buffers, from which they are restored if the call fails.

    A model on the meta device gets memory first, ``model.to_empty(device=...)``; every parameter is then filled but those
    that the report lists as left alone. Buffers other than running statistics are not filled: recompute what the model's
    constructor stored in them, such as tables of positions, before this call.

    Args:
        model: Any network, on any device, in any floating dtype.
        method: Name of an initializer; see `list_initializers`.
        example_inputs: Arguments of one forward pass, from which the parts of the weights are found: a tensor, a tuple of
            positional ones or a mapping of keyword ones, or a list as a data loader yields, whose labels are left out.
            None where the model describes its inputs, as those of timm, torchvision and transformers do, or where ``parts``
            is a whole `Structure`.
        parts: Overrides, {shell pattern of parameter names: part}, the last match winning, as in
            ``{"patch_embed.*": "stem"}``, which leaves its bias a bias; or a `Structure`, which is then taken as it is.
        keep: Shell pattern, or patterns, of the names of parameters that keep their values, such as pretrained word vectors.
        replace: Shell pattern, or patterns, of the names of parameters that are filled although they hold values that the
            model's author seems to have chosen, such as a detector's prior; ``"*"`` for all. See `idinit.network.chosen`.
        generator: CPU generator of all randomness.
        seed: Seed of a fresh generator, where none is given; 0 by default. The same seed gives the same bytes.
        **options: Options of the method.

    Returns:
        A report with a row for every parameter.

    Raises:
        UsageError: If a name, an option or an override is not valid, or the method does not apply to the network. The
            network is then as it was, as after any other error.
    """
    require_arguments(model, method, seed, generator, keep, replace)
    checked = INITIALIZERS.check(method, options)
    if generator is not None and seed is not None:
        raise UsageError("give either generator or seed, not both")
    if generator is not None and generator.device.type != "cpu":
        raise UsageError(f"generator is on '{generator.device}'; the same bytes everywhere need torch.Generator() on the CPU")
    require_initializable(model)
    generator = generator or Generator().manual_seed(int(seed or 0))

    kept = _kept(model, [keep] if isinstance(keep, str) else keep)
    require_real(model, kept)
    with unchanged_on_failure(model):
        detach_scalars(model)
        if isinstance(parts, Structure):
            structure = parts
        else:
            example_inputs = inputs_of(model, example_inputs)
            structure = find_structure(model, example_inputs, overrides=parts)
        patterns = find_patterns(model, structure)
        kept = _chosen(model, structure, [replace] if isinstance(replace, str) else replace) | kept
        entry = INITIALIZERS[method]
        net = Network(model, structure, generator, method, kept, example_inputs)
        for need in entry.info.needs:
            if problem := REQUIREMENTS[need](net):
                raise UsageError(f"initializer '{method}' {problem}")
        entry.build(net, **checked)
        fill_rest(net)
        require_no_stuck_zeros(net)
        for name, what in patterns.items():
            if pattern_of(model.get_parameter(name).detach()) != what:
                net.note(name, f"was {what}")
    _keep_from_hugging_face(model)
    return Report(method, checked, tuple(net.rows()), weakref.ref(model), example_inputs)


def _keep_from_hugging_face(model: nn.Module) -> None:
    """Marks models of Hugging Face as initialized; otherwise their ``init_weights`` would do it again."""
    if any(hasattr(module, "_init_weights") for module in model.modules()):
        for module in model.modules():
            module._is_hf_initialized = True  # type: ignore[assignment]  # the flag they look at


def _kept(model: nn.Module, patterns: Sequence[str]) -> dict[str, str]:
    """The parameters that nothing may change, and why."""
    frozen = {name: "frozen, it takes no gradient" for name, p in model.named_parameters() if not p.requires_grad}
    names = [name for name, _ in model.named_parameters()]
    return frozen | {name: "kept, as asked" for pattern in patterns for name in matching(pattern, names, "keep")}


def _chosen(model: nn.Module, structure: Structure, replace: Sequence[str]) -> dict[str, str]:
    """The parameters that keep what the model's author chose, and why."""
    names = [name for name, _ in model.named_parameters()]
    replaced = {name for pattern in replace for name in matching(pattern, names, "replace")}
    found = find_chosen(model, structure).items()
    return {name: f"chosen by the model's author: {what}; replace= fills it" for name, what in found if name not in replaced}


def list_initializers(filter: str | None = None) -> tuple[InitializerInfo, ...]:
    """Lists the initializers by name.

    Args:
        filter: A shell pattern of names, such as ``*fixup*``; None for all.
    """
    infos = []
    for name in INITIALIZERS if filter is None else fnmatch.filter(INITIALIZERS, filter):
        entry = INITIALIZERS[name]
        options = tuple(
            Option(key, formatannotation(field.annotation), field.default) for key, field in entry.options.model_fields.items()
        )
        infos.append(InitializerInfo(name, entry.summary, entry.info.paper, options, entry.info.needs))
    return tuple(infos)
