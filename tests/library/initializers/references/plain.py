"""Weights by their shape alone."""

import math

import torch
from torch import nn


def default(ref):
    """A module made anew has torch's values; modules draw in reverse order, each from a seed of its own."""
    for prefix, module in reversed(list(ref.model.named_modules())):
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.LayerNorm)):
            seed = torch.randint(2**63 - 1, (), generator=ref.generator).item()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                if isinstance(module, nn.Conv2d):
                    bias = module.bias is not None
                    new = nn.Conv2d(module.in_channels, module.out_channels, module.kernel_size, bias=bias)
                elif isinstance(module, nn.Linear):
                    new = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
                elif isinstance(module, nn.LayerNorm):
                    new = nn.LayerNorm(module.normalized_shape)
                else:
                    new = nn.BatchNorm2d(module.num_features)
            ref.values |= {f"{prefix}.{leaf}": p.detach() for leaf, p in new.named_parameters()}


def xavier(ref, distribution="uniform", gain=1.0):
    """Variance 2 gain^2 / (fan-in + fan-out)."""
    for name in ref.matrices():
        ref.xavier(name, gain, distribution)
    ref.norms_and_biases()


def kaiming(ref, mode="fan_out", distribution="normal"):
    """Variance 2 / fan; the head as torch does."""
    for name in ref.body():
        if distribution == "normal":
            ref.he(name, mode=mode)
        else:
            ref.uniform(name, math.sqrt(6 / ref.fans(name)[mode == "fan_out"]))
    for name in ref.named("head"):
        ref.torch_default(name)
    ref.norms_and_biases()


def orthogonal(ref, gain=2**0.5):
    """Singular values of [out, in * k] equal the gain; 1 for the head."""
    for name in [*ref.body(), *ref.named("head")]:
        fan_in, _ = ref.fans(name)
        factor = 1 if ref.parts[name] == "head" else gain
        ref.values[name] = factor * ref.orthogonal(ref.shapes[name][0], fan_in).reshape(ref.shapes[name])
    ref.norms_and_biases()


def delta_orthogonal(ref, gain=1.0):
    """Orthogonal on the centre tap."""
    for name in ref.matrices():
        out, inputs, *kernel = ref.shapes[name]
        ref.constant(name, 0)
        centre = (slice(None), slice(None), *(k // 2 for k in kernel))
        ref.values[name][centre] = gain * ref.orthogonal(out, inputs)
    ref.norms_and_biases()


def zero(ref, hadamard_scale="orthonormal"):
    """Partial identity where out <= in, the corner of c H_p where out > in, on the centre tap; branch ends 0."""
    for name in ref.matrices():
        out, inputs, *kernel = ref.shapes[name]
        ref.constant(name, 0)
        if ref.parts[name] == "branch_end":
            continue
        log = math.ceil(math.log2(out))
        c = 2 ** (-log / 2) if hadamard_scale == "orthonormal" else 2 ** (-(log - 1) / 2)
        for m in range(out):
            for j in range(inputs):
                sign = (-1) ** bin(m & j).count("1")  # Sylvester's matrix, entry by entry
                value = float(m == j) if out <= inputs else c * sign
                ref.values[name][(m, j, *(k // 2 for k in kernel))] = value
    ref.norms_and_biases()


def lecun(ref, distribution="truncated"):
    """Variance 1 / fan-in; what lies beyond two standard deviations is drawn again, and all is widened to make up for it."""
    for name in ref.matrices():
        std = 1 / math.sqrt(ref.fans(name)[0])
        if distribution == "normal":
            ref.normal(name, std)
        elif distribution == "uniform":
            ref.uniform(name, math.sqrt(3) * std)
        else:
            wide = std / _std_within(2)
            ref.normal(name, wide)
            value = ref.values[name]
            while (value.abs() > 2 * wide).any():
                again = torch.empty(value.shape).normal_(0, wide, generator=ref.generator)
                value[value.abs() > 2 * wide] = again[value.abs() > 2 * wide]
    ref.norms_and_biases()


def sinusoidal(ref):
    """Row i is a sin(2 pi f j / n + phi): all frequencies up to n / 2 in turn, each time round with another phase."""
    for name in ref.matrices():
        out, n = ref.shapes[name][0], ref.fans(name)[0]
        places = [(f, turn) for turn in range(out) for f in range(1, n // 2 + 1)][:out]
        turns = 1 + max(turn for _, turn in places)
        rows = [[math.sin(2 * math.pi * f * j / n + math.pi * (turn + 0.5) / turns) for j in range(n)] for f, turn in places]
        waves = torch.tensor(rows, dtype=torch.float64)
        waves *= math.sqrt(2 / sum(ref.fans(name)) / waves.square().mean())
        ref.values[name] = waves.float().reshape(ref.shapes[name])
    ref.norms_and_biases()


def siren(ref, omega=30.0):
    """U(-1/n, 1/n) at first, then U(-sqrt(6/n)/omega, sqrt(6/n)/omega); biases U(-1/sqrt(n), 1/sqrt(n))."""
    for name in ref.matrices():
        n = ref.fans(name)[0]
        ref.uniform(name, 1 / n if ref.parts[name] == "stem" else math.sqrt(6 / n) / omega)
    for name in ref.named("bias"):
        ref.uniform(name, 1 / math.sqrt(ref.fans(name.replace("bias", "weight"))[0]))


def _std_within(bound):
    """Standard deviation of a standard normal given that it is within +-bound."""
    density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(1 - 2 * bound * density / math.erf(bound / math.sqrt(2)))
