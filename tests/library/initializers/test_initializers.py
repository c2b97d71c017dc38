"""What holds for every initializer of the registry."""

import ast
import copy
import random
from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from idinit.errors import UsageError
from idinit.initialize import initialize_, list_initializers
from idinit.initializers import INITIALIZERS
from idinit.network.requirements import REQUIREMENTS
from idinit.network.scalars import named_scalars

DETERMINISTIC = {"zero", "sinusoidal"}
MEASURED = {"admin", "lsuv"}  # on data


def _state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _init(case, method, **kwargs):
    report = initialize_(case.model, method, (case.x,), parts=case.structure, **kwargs)
    return report, _state(case.model)


def test_every_parameter_is_filled_and_reported(method, kind, build):
    case = build(kind)
    with torch.no_grad():
        for parameter in case.model.parameters():
            parameter.fill_(float("nan"))
    report = initialize_(case.model, method, (case.x,), parts=case.structure)
    named = dict(case.model.named_parameters())
    assert [row.parameter for row in report.rows[: len(case.structure.parts)]] == list(case.structure.parts)
    named |= {f"{name}.value": scalar.value for name, scalar in named_scalars(case.model)}  # constants are no parameters
    assert {row.parameter: row.shape for row in report.rows} == {n: tuple(p.shape) for n, p in named.items()}
    assert all(parameter.isfinite().all() for parameter in named.values())
    assert not report.left_alone


def test_signal_and_gradient_are_finite(method, kind, build):
    case = build(kind)
    initialize_(case.model, method, (case.x,), parts=case.structure)
    output = case.model(case.x)
    F.cross_entropy(output, torch.arange(len(output)) % output.shape[1]).backward()
    gradients = [p.grad for p in case.model.parameters()]
    assert output.isfinite().all()
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g.abs().max() > 0 for g in gradients)


def test_every_parameter_gets_a_gradient_within_a_few_steps(method, kind, build):
    """One zero on a path is left behind in a step; two in a row would stay."""
    case = build(kind)
    initialize_(case.model, method, (case.x,), parts=case.structure)
    waiting = {name for name, _ in case.model.named_parameters()}
    optimizer = torch.optim.SGD(case.model.parameters(), lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(case.model(case.x), torch.arange(len(case.x)) % 5).backward()
        waiting -= {name for name, p in case.model.named_parameters() if p.grad.abs().max() > 0}
        optimizer.step()
    assert not waiting


def test_same_seed_gives_the_same_bytes_and_another_seed_others(method, case):
    _, first = _init(case, method, seed=1)
    _, again = _init(case, method, generator=torch.Generator().manual_seed(1))
    _, other = _init(case, method, seed=2)
    assert _same(first, again)
    assert _same(first, other) == (method in DETERMINISTIC)


def test_the_default_seed_is_zero(method, case):
    assert _same(_init(case, method)[1], _init(case, method, seed=0)[1])


def test_global_randomness_is_neither_read_nor_changed(method, case):
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        results.append(_init(case, method)[1])
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]
    assert _same(*results)


def test_calling_again_or_after_another_method_is_calling_once(method, case):
    _, once = _init(case, method)
    output = case.model(case.x)
    for other in ("rezero" if case.structure.branches else "kaiming", method):
        initialize_(case.model, other, (case.x,), parts=case.structure)
    initialize_(case.model, method, (case.x,), parts=case.structure)
    again = _state(case.model)
    assert _same({n: v for n, v in once.items() if "running" not in n}, {n: v for n, v in again.items() if "running" not in n})
    assert torch.equal(case.model(case.x), output)


def test_a_copy_is_initialized_alike_and_alone(method, case):
    twin = copy.deepcopy(case.model)
    _, original = _init(case, method)
    assert all(name not in dict(twin.named_modules()) for name, _ in named_scalars(case.model))
    initialize_(twin, method, (case.x,), parts=case.structure)
    assert _same(original, _state(twin))
    moved = copy.deepcopy(twin)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(1)
    assert torch.equal(twin(case.x), case.model(case.x))


def test_half_precision_is_the_rounded_float32(method, case):
    half = copy.deepcopy(case.model).bfloat16()
    initialize_(half, method, (case.x.bfloat16(),), parts=case.structure)
    initialize_(case.model, method, (case.x,), parts=case.structure)
    expected = {name: p.detach().bfloat16() for name, p in case.model.named_parameters()}
    if method in MEASURED:  # in the precision of the network
        for name, value in half.named_parameters():
            torch.testing.assert_close(value.detach(), expected[name], rtol=0.05, atol=0.01)
    else:
        assert _same(expected, {name: p.detach() for name, p in half.named_parameters()})
    output = half(case.x.bfloat16())
    assert output.dtype == torch.bfloat16 and output.isfinite().all()


def test_memory_format_does_not_matter(method, case):
    last = copy.deepcopy(case.model).to(memory_format=torch.channels_last)
    initialize_(last, method, (case.x,), parts=case.structure)
    assert _same(_init(case, method)[1], _state(last))


def test_found_parts_give_what_parts_by_hand_give(method, case):
    _, by_hand = _init(case, method)
    initialize_(case.model, method, example_inputs=(case.x,))
    assert _same(by_hand, _state(case.model))


@pytest.mark.parametrize(
    ("pattern", "names"), [("*fixup", ["fixup", "t_fixup"]), ("zero", ["zero"]), ("no_such", []), (None, list(INITIALIZERS))]
)
def test_initializers_are_listed_by_a_pattern(pattern, names):
    assert [info.name for info in list_initializers(filter=pattern)] == names


def test_facts(method):
    entry = INITIALIZERS[method]
    info = {info.name: info for info in list_initializers()}[method]
    assert (info.summary, info.paper, info.needs) == (entry.summary, entry.info.paper, entry.info.needs)
    assert info.paper and info.summary.endswith(".")
    assert set(info.needs) <= set(REQUIREMENTS)
    assert {option.name: option.default for option in info.options} == INITIALIZERS.check(method, {})


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        ("fixup", "resnet-norm", "'norm.weight'.*'rezero'"),
        ("zero_gamma", "resnet", "'stage1.0.branch.conv2.weight'.*'skipinit'"),
        *((n, "transformer-plain", "'layers.0.attention.proj.weight'.*'idinit'") for n in ("deepnorm", "admin")),
        *((n, "residual-mlp", "attention.*'idinit'") for n in ("conditioned", "mimetic", "small_init", "t_fixup")),
        ("t_fixup", "transformer", "'layers.0.norm1.weight'"),
        ("siren", "mlp", "'kaiming'"),
        *((n, "mlp", "'kaiming'") for n in ("depth_scaled", "fixup", "rezero", "skipinit", "zero_gamma")),
    ],
)
def test_a_network_that_a_method_cannot_do_is_refused_unchanged(name, kind, line, build):
    case = build(kind)
    before = _state(case.model)
    with pytest.raises(UsageError, match=f"^initializer '{name}' .*{line}"):
        initialize_(case.model, name, (case.x,), parts=case.structure)
    assert _same(before, _state(case.model))


@pytest.mark.parametrize(("name", "kind"), [("lsuv", "mlp"), ("admin", "transformer-post-norm")])
def test_a_method_that_measures_refuses_inputs_of_another_precision(name, kind, build):
    case = build(kind)
    before = _state(case.model.double())
    with pytest.raises(UsageError, match=r"example_inputs \(RuntimeError: .*dtype"):
        initialize_(case.model, name, (case.x,), parts=case.structure)
    assert _same(before, _state(case.model))


def test_a_method_that_measures_needs_inputs(build):
    case = build("mlp")
    before = _state(case.model)
    with pytest.raises(UsageError, match=r"'lsuv' .*example_inputs=\(x,\)"):
        initialize_(case.model, "lsuv", parts=case.structure)
    assert _same(before, _state(case.model))


def test_whatever_fails_and_when_the_network_is_as_it_was(method, case, monkeypatch):
    """Here all is filled, and scalars are replaced, when the failure comes; those of an earlier call stay."""
    initialize_(case.model, "rezero" if case.structure.branches else "kaiming", (case.x,), parts=case.structure)
    modules, before, output = list(case.model.modules()), _state(case.model), case.model.eval()(case.x)

    def fail(net):
        assert not _same(before, _state(case.model)) or method in ("rezero", "kaiming")
        raise MemoryError

    monkeypatch.setattr("idinit.initialize.fill_rest", fail)
    with pytest.raises(MemoryError):
        initialize_(case.model, method, (case.x,), parts=case.structure, seed=3)
    assert _same(before, _state(case.model)) and list(case.model.modules()) == modules
    assert torch.equal(case.model(case.x), output)


def test_complex_weights_are_refused_unless_they_are_kept(method):
    complex_layers = [torch.nn.Linear(4, 4, bias=i == 0, dtype=torch.cfloat) for i in range(3)]
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), *complex_layers, torch.nn.Linear(4, 2, dtype=torch.cfloat))
    before, x = _state(model), torch.rand(3, 4)
    with pytest.raises(UsageError, match="'1.weight' is complex.*keep=") as caught:
        initialize_(model, method, (x,))
    assert _same(before, _state(model))
    patterns = ast.literal_eval(str(caught.value).partition("keep=")[2])
    names = [name for name, _ in model.named_parameters()]
    matched = {name for name in names for pattern in patterns if fnmatchcase(name, pattern)}
    assert matched == {name for name, value in model.named_parameters() if value.is_complex()}
    with pytest.raises(UsageError, match="'2.weight' is complex"):
        initialize_(model, method, (x,), keep="1.*")
