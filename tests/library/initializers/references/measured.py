"""Weights by what they make of example inputs."""

import copy
import math

import pytest
import torch
from torch import nn


def admin(ref):
    """Xavier; omega_1 = 1, omega_(i+1) = sqrt(Var(omega_i x_i) + Var f_i), where x_(i+1) = norm(omega_i x_i + f_i)."""
    for name in ref.matrices():
        ref.xavier(name, 1 / math.sqrt(2) if ref.parts[name] in ("query", "key", "value") else 1)
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
        ref.values[name] = ref.orthogonal(out, math.prod(rest)).reshape(ref.shapes[name])
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
