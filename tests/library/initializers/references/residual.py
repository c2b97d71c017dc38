"""Weights by their place in residual branches."""

import math

from .plain import kaiming


def zero_gamma(ref):
    """Kaiming fan-out; the last norm's scale is 0."""
    kaiming(ref)
    for branch in ref.branches:
        ref.constant(f"{branch.end_norm}.weight", 0)


def fixup(ref, stem="default"):
    """He (fan-out) x L^(-1/(2m-2)); last weight and classifier 0; scalar biases 0, one scale of 1 a branch.

    The m of attention is 4: queries, keys, values, output.
    """
    count = len(ref.branches)
    inner = {name: len(branch.weights) for branch in ref.branches for name in branch.weights[:-1]}
    inner |= {f"{name}:{part}": 4 for name in ref.packed for part in ("query", "key", "value")}
    for name in ref.body():
        if ref.parts[name] == "branch_end":
            ref.constant(name, 0)
        elif ref.parts[name] == "stem" and stem == "default":
            ref.torch_default(name)
        elif name in inner:
            ref.he(name, count ** (-1 / (2 * inner[name] - 2)))
        else:
            ref.he(name)
    for name in ref.named("head"):
        ref.constant(name, 0)
        ref.scalar(name.replace("weight", "input_bias.value"), 0)
    for name in ref.named("stem"):
        ref.scalar(name.replace("weight", "output_bias.value"), 0)
    for branch in ref.branches:
        for name in branch.weights:
            ref.scalar(name.replace("weight", "input_bias.value"), 0)
            ref.scalar(name.replace("weight", "output_bias.value"), 0)
        ref.scalar(branch.weights[-1].replace("weight", "output_scale.value"), 1)
    ref.norms_and_biases()


def skipinit(ref, alpha="zero"):
    """He (fan-in), head 0, a multiplier of 0 or 1/sqrt(L)."""
    for name in ref.body():
        ref.he(name, mode="fan_in")
    for name in ref.named("head"):
        ref.constant(name, 0)
    value = 0 if alpha == "zero" else 1 / math.sqrt(len(ref.branches))
    for branch in ref.branches:
        ref.scalar(branch.weights[-1].replace("weight", "output_scale.value"), value)
    ref.norms_and_biases()


def rezero(ref):
    """Kaiming fan-out and a multiplier of 0."""
    kaiming(ref)
    for branch in ref.branches:
        ref.scalar(branch.weights[-1].replace("weight", "output_scale.value"), 0)


def idinit(ref, tau=1.0, eps=1e-6, layout="patch", zero_preserving=True, stem="idi", head="default", coefficients="default"):
    """IDI(tau), IDIZ(eps) at the end of branches, entry by entry of [out, in * k] (patch) or of the centre tap."""
    for name in ref.matrices():
        out, inputs, *kernel = ref.shapes[name]
        part = ref.parts[name]
        if part == "head" and head == "default":
            ref.torch_default(name)
            continue
        if part == "stem" and stem == "kaiming":
            ref.he(name)
            continue
        if part in ("query", "key") and coefficients == "default":
            ref.torch_default(name)
            continue
        ref.constant(name, 0)
        if part == "head" and head == "zero":
            continue
        centre = (slice(None), slice(None), *(k // 2 for k in kernel))
        matrix = ref.values[name].view(out, -1) if layout == "patch" else ref.values[name][centre]
        columns = matrix.shape[1]
        ends = part == "branch_end" and zero_preserving
        for m in range(out):
            matrix[m, m % columns] = eps if ends else tau
            if ends and out < columns:
                matrix[m, out + m % (columns - out)] = -eps
            elif ends:
                matrix[m, (m + 1) % columns] = -eps
    ref.norms_and_biases()


def gpt2(ref, std=0.02):
    """N(0, std), the last weight of a branch divided by sqrt(branches)."""
    for name in ref.matrices():
        ref.normal(name, std / math.sqrt(len(ref.branches)) if ref.parts[name] == "branch_end" else std)
    ref.norms_and_biases()


def depth_scaled(ref, std=0.02):
    """N(0, std); the end of a branch over sqrt(2 (l + 1)) in layer l of a transformer, over sqrt(l + 1) elsewhere."""
    ends = [branch.end for branch in ref.branches]
    for name in ref.matrices():
        size = 1 / math.sqrt(ref.fans(name)[0]) if std == "fan_in" else std
        if name in ends:
            number = ends.index(name)
            size /= math.sqrt(2 * (number // 2 + 1) if ref.heads else number + 1)
        ref.normal(name, size)
    ref.norms_and_biases()
