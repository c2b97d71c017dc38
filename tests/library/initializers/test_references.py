"""Every initializer against a slow, literal version of its definition, for every parameter of several networks.

A reference says what each parameter holds, in the order in which the method draws from the generator. A method without
a reference fails `test_equals_reference`.
"""

import copy
import math

import pytest
import torch
from torch import nn

from idinit.initialize import initialize_
from idinit.initializers import INITIALIZERS


class Reference:
    """What a definition says: values by parameter name; query, key and value of one matrix have a name each."""

    def __init__(self, case, seed):
        self.shapes, self.parts = {}, {}
        self.packed = case.structure.slices
        for name, p in case.model.named_parameters():
            for piece in self.packed.get(name, (None,)):
                own = f"{name}:{piece.part}" if piece else name
                self.shapes[own] = (piece.stop - piece.start, *p.shape[1:]) if piece else tuple(p.shape)
                self.parts[own] = piece.part if piece else case.structure.parts[name]
        self.model, self.x = case.model, case.x
        self.branches = case.structure.branches
        self.heads = case.structure.heads
        self.generator = torch.Generator().manual_seed(seed)
        self.values = {}

    def named(self, *parts):
        return [name for name in self.shapes if self.parts[name] in parts]

    def matrices(self):
        return [name for name in self.shapes if self.parts[name] not in ("norm", "bias")]

    def body(self):
        return [name for name in self.matrices() if self.parts[name] != "head"]

    def normal(self, name, std):
        self.values[name] = torch.empty(self.shapes[name]).normal_(0, std, generator=self.generator)

    def uniform(self, name, bound):
        self.values[name] = torch.empty(self.shapes[name]).uniform_(-bound, bound, generator=self.generator)

    def constant(self, name, value):
        self.values[name] = torch.full(self.shapes[name], float(value))

    def scalar(self, name, value):
        self.values[name] = torch.tensor([float(value)])

    def fans(self, name):
        out, inputs, *kernel = self.shapes[name]
        return inputs * math.prod(kernel), out * math.prod(kernel)

    def he(self, name, factor=1.0, mode="fan_out"):
        fan_in, fan_out = self.fans(name)
        self.normal(name, factor * math.sqrt(2 / (fan_out if mode == "fan_out" else fan_in)))

    def torch_default(self, name):
        self.uniform(name, 1 / math.sqrt(self.fans(name)[0]))

    def whole(self):
        """The values by the names of parameters."""
        values = dict(self.values)
        for name, pieces in self.packed.items():
            if name not in values:
                values[name] = torch.cat([values.pop(f"{name}:{piece.part}") for piece in pieces])
        return values

    def norms_and_biases(self):
        for name in self.shapes:
            if self.parts[name] == "bias" or (self.parts[name] == "norm" and name.endswith(".bias")):
                self.constant(name, 0)
            elif self.parts[name] == "norm":
                self.constant(name, 1)


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
        std = gain * math.sqrt(2 / sum(ref.fans(name)))
        if distribution == "normal":
            ref.normal(name, std)
        else:
            ref.uniform(name, math.sqrt(3) * std)
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


def _orthogonal(ref, rows, columns):
    """Q of a Gaussian, with the signs that make it uniform (Mezzadri 2007)."""
    wide = rows < columns
    gaussian = torch.empty(rows, columns).normal_(generator=ref.generator)
    q, r = torch.linalg.qr(gaussian.T if wide else gaussian)
    q = q * r.diagonal().sign()
    return q.T if wide else q


def orthogonal(ref, gain=2**0.5):
    """Singular values of [out, in * k] equal the gain; 1 for the head."""
    for name in [*ref.body(), *ref.named("head")]:
        fan_in, _ = ref.fans(name)
        factor = 1 if ref.parts[name] == "head" else gain
        ref.values[name] = factor * _orthogonal(ref, ref.shapes[name][0], fan_in).reshape(ref.shapes[name])
    ref.norms_and_biases()


def delta_orthogonal(ref, gain=1.0):
    """Orthogonal on the centre tap."""
    for name in ref.matrices():
        out, inputs, *kernel = ref.shapes[name]
        ref.constant(name, 0)
        centre = (slice(None), slice(None), *(k // 2 for k in kernel))
        ref.values[name][centre] = gain * _orthogonal(ref, out, inputs)
    ref.norms_and_biases()


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


def _std_within(bound):
    """Standard deviation of a standard normal given that it is within +-bound."""
    density = math.exp(-(bound**2) / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(1 - 2 * bound * density / math.erf(bound / math.sqrt(2)))


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


def small_init(ref):
    """N(0, 2 / (5 d)); the ends of branches N(0, (2 / (L sqrt d))^2)."""
    d, depth = 16, len(ref.heads)
    for name in ref.matrices():
        is_end = ref.parts[name] == "branch_end"
        ref.normal(name, 2 / depth / math.sqrt(d) if is_end else math.sqrt(2 / (5 * d)))
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


def conditioned(ref):
    """Values the identity, each head's queries and keys orthonormal, the rest as torch does."""
    for name in ref.matrices():
        if ref.parts[name] == "value":
            ref.values[name] = torch.eye(*ref.shapes[name])
        elif ref.parts[name] in ("query", "key"):
            rows, columns = ref.shapes[name]
            size = ref.heads[0].size
            ref.values[name] = torch.cat([_orthogonal(ref, size, columns) for _ in range(rows // size)])
        else:
            ref.torch_default(name)
    ref.norms_and_biases()


def mimetic(ref, weights="qkvo", query_noise=0.7, query_identity=0.7, value_noise=None, value_identity=None):
    """Wq' Wk near 0.7 Z + 0.7 I in each head, Wo Wv = 0.4 Z - 0.4 I, by singular value decomposition.

    With weights="vo", Wv = sqrt(0.05) I and Wo = -sqrt(0.05) I, both with noise of 0.01.
    """

    def split(noise, identity, width):
        z = torch.empty(width, width).normal_(generator=ref.generator) / math.sqrt(width)
        u, s, vh = torch.linalg.svd(noise * z + identity * torch.eye(width))
        root = torch.diag(s.sqrt())
        return u @ root, root @ vh

    is_whole = weights == "qkvo"
    value_noise = value_noise if value_noise is not None else 0.4 if is_whole else 0.01
    value_identity = value_identity if value_identity is not None else 0.4 if is_whole else 0.05
    ends = {heads.output for heads in ref.heads}
    for name in ref.matrices():
        if name not in ends and ref.parts[name] not in (("query", "key", "value") if is_whole else ("value",)):
            ref.torch_default(name)
    for heads in ref.heads:
        query, value, width = f"{heads.query}:query", f"{heads.value}:value", ref.shapes[heads.output][0]
        if is_whole:
            halves = [split(query_noise, query_identity, width) for _ in range(ref.shapes[query][0] // heads.size)]
            ref.values[query] = torch.cat([left[:, : heads.size].T for left, _ in halves])
            ref.values[f"{heads.key}:key"] = torch.cat([right[: heads.size] for _, right in halves])
            ref.values[heads.output], ref.values[value] = split(value_noise, -value_identity, width)
        else:
            for name, sign in ((value, 1), (heads.output, -1)):
                ref.normal(name, value_noise)
                ref.values[name] += sign * math.sqrt(value_identity) * torch.eye(width)
    ref.norms_and_biases()


def _xavier(ref, name, gain, distribution="uniform"):
    std = gain * math.sqrt(2 / sum(ref.fans(name)))
    if distribution == "normal":
        ref.normal(name, std)
    else:
        ref.uniform(name, math.sqrt(3) * std)


def t_fixup(ref):
    """Xavier; values, outputs and feed-forward times 0.67 N^(-1/4); gain 1/sqrt(2) of queries and keys."""
    count = len(ref.heads)
    for name in ref.matrices():
        part = ref.parts[name]
        if part in ("query", "key"):
            _xavier(ref, name, 1 / math.sqrt(2))
        else:
            _xavier(ref, name, 0.67 * count ** (-1 / 4) if part in ("value", "branch", "branch_end") else 1)
    ref.norms_and_biases()


def deepnorm(ref):
    """Xavier normal with gain (8 N)^(-1/4); the branch times (2 N)^(-1/4)."""
    count = len(ref.heads)
    for name in ref.matrices():
        is_scaled = ref.parts[name] in ("value", "branch", "branch_end")
        _xavier(ref, name, (8 * count) ** (-1 / 4) if is_scaled else 1, "normal")
    for branch in ref.branches:
        ref.scalar(branch.end.replace("weight", "output_scale.value"), (2 * count) ** (-1 / 4))
    ref.norms_and_biases()


def admin(ref):
    """Xavier; omega_1 = 1, omega_(i+1) = sqrt(Var(omega_i x_i) + Var f_i), where x_(i+1) = norm(omega_i x_i + f_i)."""
    for name in ref.matrices():
        _xavier(ref, name, 1 / math.sqrt(2) if ref.parts[name] in ("query", "key", "value") else 1)
    ref.norms_and_biases()
    model = _filled(ref)
    x, omega = model.stem(ref.x.reshape(-1, 12, 64)), 1.0
    for layer, index in [(layer, index) for layer in model.layers for index in (1, 2)]:
        f = (layer.attention if index == 1 else layer.mlp)(x)
        end = ref.branches[2 * list(model.layers).index(layer) + index - 1].end
        ref.scalar(end.replace("weight", "output_scale.value"), 1 / omega)
        total = omega * x + f
        omega = math.sqrt((omega * x).var() + f.var())
        x = (layer.norm1 if index == 1 else layer.norm2)(total)


@torch.no_grad()
def lsuv(ref):
    """Orthonormal; layer by layer divided by the standard deviation of the output, until that is 1."""
    for name in ref.matrices():
        out, *rest = ref.shapes[name]
        ref.values[name] = _orthogonal(ref, out, math.prod(rest)).reshape(ref.shapes[name])
    ref.norms_and_biases()
    model, outputs = _filled(ref), {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.register_forward_hook(lambda module, args, output, name=name: outputs.update({name: output.std().item()}))
    model(ref.x)
    for name in list(outputs):  # in the order of execution
        for _ in range(3):
            model(ref.x)
            model.get_submodule(name).weight.div_(outputs[name])
        assert outputs[name] == pytest.approx(1, abs=1e-5)
    whole = {f"{name}.weight": model.get_submodule(name).weight for name in outputs}
    ref.values = {name: value for name, value in ref.values.items() if name.partition(":")[0] not in whole} | whole


@torch.no_grad()
def _filled(ref):
    """A copy of the network that holds the values so far."""
    model = copy.deepcopy(ref.model).train()
    for name, value in ref.whole().items():
        model.get_parameter(name).copy_(value)
    return model.requires_grad_(False)


REFERENCES = {
    function.__name__: function
    for function in (
        *(default, xavier, kaiming, orthogonal, delta_orthogonal, zero_gamma),
        *(fixup, skipinit, rezero, zero, idinit),
        *(lecun, depth_scaled, small_init, sinusoidal, siren),
        *(gpt2, conditioned, mimetic, t_fixup, deepnorm, admin, lsuv),
    )
}

MEASURED = ("admin", "lsuv")  # on data
OPTIONS = [
    ("xavier", dict(distribution="normal", gain=1.5)),
    ("kaiming", dict(mode="fan_in")),
    ("kaiming", dict(distribution="uniform")),
    ("kaiming", dict(distribution="uniform", mode="fan_in")),
    ("orthogonal", dict(gain=0.5)),
    ("delta_orthogonal", dict(gain=2.0)),
    ("fixup", dict(stem="he")),
    ("skipinit", dict(alpha="inverse_sqrt_depth")),
    ("zero", dict(hadamard_scale="paper")),
    ("idinit", dict(tau=1.5, eps=1e-3)),
    ("idinit", dict(layout="channel")),
    ("idinit", dict(zero_preserving=False)),
    ("idinit", dict(stem="kaiming", head="zero")),
    ("idinit", dict(head="idi")),
    ("idinit", dict(coefficients="idi")),
    ("gpt2", dict(std=0.1)),
    ("lecun", dict(distribution="normal")),
    ("lecun", dict(distribution="uniform")),
    ("depth_scaled", dict(std=0.1)),
    ("depth_scaled", dict(std="fan_in")),
    ("siren", dict(omega=1.0)),
    ("mimetic", dict(weights="vo")),
    ("mimetic", dict(weights="vo", value_noise=0.1, value_identity=1.0)),
    ("mimetic", dict(query_noise=0.5, query_identity=0.2, value_noise=1.0, value_identity=0.0)),
]


def _check(case, method, options):
    assert method in REFERENCES, f"write a reference for '{method}'"
    reference = Reference(case, seed=5)
    REFERENCES[method](reference, **options)
    initialize_(case.model, method, (case.x,), parts=case.structure, seed=5, **options)
    actual, expected = case.model.state_dict(), reference.whole()
    assert actual.keys() - {name for name, _ in case.model.named_buffers() if "norm" in name} == expected.keys()
    tolerance = 1e-5 if method in MEASURED else 1e-6
    for name, value in expected.items():
        torch.testing.assert_close(actual[name].detach(), value, rtol=tolerance, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_equals_reference(method, kind, build):
    _check(build(kind), method, {})


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=lambda v: v if isinstance(v, str) else ",".join(v))
def test_options_equal_reference(name, options, build):
    needs = INITIALIZERS[name].info.needs
    kinds = ("resnet-projection", "residual-mlp") if "branches" in needs else ("resnet-projection", "mlp", "allconv")
    kinds = ("siren",) if "sine" in needs else kinds
    for kind in ("transformer",) if "coefficients" in options or name == "mimetic" else kinds:
        _check(build(kind), name, options)


def test_every_reference_is_of_an_initializer():
    assert set(REFERENCES) == set(INITIALIZERS)
