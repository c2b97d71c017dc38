"""Every initializer against a slow, literal version of its definition, for every parameter of several networks.

A reference says what each parameter holds, in the order in which the method draws from the generator. A method without
a reference fails `test_equals_reference`; see ``references/``.
"""

import pytest
import torch
from references import REFERENCES, Reference

from idinit.initialize import initialize_
from idinit.initializers import INITIALIZERS

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
