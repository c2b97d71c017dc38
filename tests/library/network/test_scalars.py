"""Scalars act where they are put, travel with the network, and leave without a trace."""

import copy

import pytest
import torch
import torch._dynamo
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from idinit.network.scalars import Scalar, attach_scalar, detach_scalars, named_scalars, param_groups


class Net(nn.Module):
    """Two layers and a second path; ``body`` is a Sequential, which would run a child as a layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
        self.side = nn.Linear(3, 3, bias=False)

    def forward(self, x):
        return self.body(x) + self.side(x)


def _net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def _with_scalars():
    net = _net()
    first, last = net.body[0], net.body[2]
    attach_scalar(Scalar("input_bias", 0.5, 0.1), first, first, net.side)
    attach_scalar(Scalar("output_scale", 2.0), last, net.body)
    attach_scalar(Scalar("output_bias", -1.0, 0.1), last, net.body)
    return net


def _literal(net, x, b, a, c):
    inner = F.relu(F.linear(x + b, net.body[0].weight, net.body[0].bias))
    outer = F.linear(inner, net.body[2].weight, net.body[2].bias)
    return a * outer + c + F.linear(x + b, net.side.weight)


X = torch.arange(6.0).view(2, 3)


def test_scalars_act_in_the_order_in_which_they_were_attached():
    net = _with_scalars()
    torch.testing.assert_close(net(X), _literal(net, X, 0.5, 2.0, -1.0))


def test_one_number_may_feed_two_modules_and_is_saved_once():
    net = _with_scalars()
    assert [name for name in net.state_dict() if "input_bias" in name] == ["body.0.input_bias.value"]
    net(X).sum().backward()
    both = net.body[0].input_bias.value.grad.clone()
    reference = _net()
    b = torch.full((1,), 0.5, requires_grad=True)
    _literal(reference, X, b, 2.0, -1.0).sum().backward()
    torch.testing.assert_close(both, b.grad)


def test_value_takes_the_dtype_of_the_activations():
    net = _with_scalars().bfloat16()
    assert net.body[0].input_bias.value.dtype == torch.bfloat16
    net = _with_scalars()
    with torch.autocast("cpu", torch.bfloat16):
        inner = net.body[0](X.bfloat16())
        assert inner.dtype == net(X.bfloat16()).dtype == torch.bfloat16
    double = nn.Linear(3, 3).double()
    attach_scalar(Scalar("output_bias", 0.0), double, double)
    assert double.output_bias.value.dtype == torch.float64


def test_a_copy_has_scalars_of_its_own():
    net = _with_scalars()
    twin = copy.deepcopy(net)
    expected = net(X)
    with torch.no_grad():
        for _, scalar in named_scalars(net):
            scalar.value.fill_(9.0)
    assert torch.equal(twin(X), expected)
    with torch.no_grad():
        twin.body[0].input_bias.value.fill_(3.0)
    torch.testing.assert_close(twin(X), _literal(twin, X, 3.0, 2.0, -1.0))


def test_state_goes_through_a_file_without_unpickling_objects(tmp_path):
    net = _with_scalars()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.25)
    torch.save(net.state_dict(), tmp_path / "state.pt")
    other = _with_scalars()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(X), net(X))


def test_what_was_saved_before_the_scalars_were_added_still_loads_and_computes_the_same():
    plain, net = _net(), _with_scalars()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.5)
    state = plain.state_dict()
    assert net.load_state_dict(state).missing_keys == []
    torch.testing.assert_close(net(X), plain(X))
    assert list(state) == list(plain.state_dict())
    del state["side.weight"]
    with pytest.raises(RuntimeError, match="side.weight"):
        net.load_state_dict(state)


def test_a_constant_is_saved_but_not_learned():
    net = _net()
    attach_scalar(Scalar("output_scale", 0.5, learnable=False), net.side, net.side)
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in _net().named_parameters()]
    assert net.state_dict()["side.output_scale.value"].item() == 0.5
    torch.testing.assert_close(net.side(X), 0.5 * _net().side(X))
    net.load_state_dict(_net().state_dict())
    torch.testing.assert_close(net(X), _net()(X))


def test_detaching_leaves_the_network_as_it_was():
    net = _with_scalars()
    detach_scalars(net)
    plain = _net()
    assert net.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(net(X), plain(X))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_detaching_keeps_the_hooks_of_others():
    net = _with_scalars()
    seen = []
    net.body.register_forward_hook(lambda module, args, output: seen.append(output))
    net.body.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    detach_scalars(net)
    net(X)
    assert len(seen) == 2


def test_a_compiled_network_computes_the_same():
    net = _with_scalars()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), net(X))
    compiled(X).sum().backward()
    gradient = net.body[0].input_bias.value.grad.clone()
    net.zero_grad()
    net(X).sum().backward()
    torch.testing.assert_close(net.body[0].input_bias.value.grad, gradient)


def test_code_compiled_for_other_scalars_is_not_run():
    """Dynamo's default is to ignore hooks: code compiled for a plain network would run for one with scalars."""
    torch._dynamo.config.skip_nnmodule_hook_guards = True
    torch._dynamo.reset()
    plain = _net()
    plain.compile(backend="eager")
    assert torch.equal(plain(X), _net()(X))
    net = _with_scalars()
    expected = net(X)
    net.compile(backend="eager")
    torch.testing.assert_close(net(X), expected)
    detach_scalars(net)
    torch.testing.assert_close(net(X), plain(X))
    other = Scalar("output_bias", 5.0)
    attach_scalar(other, net.side, net.side)
    torch.testing.assert_close(net(X), plain(X) + 5.0)


def _train_on_two(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    net = _with_scalars()
    wrapped = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(param_groups(wrapped, 0.1), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        wrapped(X[rank : rank + 1]).square().mean().backward()
        optimizer.step()
    torch.save(net.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one(tmp_path):
    spawn(_train_on_two, (str(tmp_path),), nprocs=2)
    net = _with_scalars()
    optimizer = torch.optim.SGD(param_groups(net, 0.1), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, value in net.state_dict().items():
        assert torch.equal(states[0][name], states[1][name])
        torch.testing.assert_close(states[0][name], value)
    assert net.body[0].input_bias.value.item() != 0.5


def _groups(net, **kwargs):
    names = {parameter: name for name, parameter in net.named_parameters()}
    return [
        ({names[p] for p in group["params"]}, group["lr"], group["weight_decay"]) for group in param_groups(net, 0.1, **kwargs)
    ]


SLOW = {"body.0.input_bias.value", "body.2.output_bias.value"}
SCALE = {"body.2.output_scale.value"}
BIASES = {"body.0.bias", "body.2.bias"}
WEIGHTS = {"body.0.weight", "body.2.weight", "side.weight"}


def test_scalars_are_told_by_type_and_slowed_down():
    groups = _groups(_with_scalars(), weight_decay=5e-4, decay="all")
    assert sorted(groups, key=lambda g: g[1]) == [
        (SLOW, pytest.approx(0.01), 5e-4),
        (WEIGHTS | BIASES | SCALE, 0.1, 5e-4),
    ]


def test_decay_of_weights_only():
    groups = _groups(_with_scalars(), weight_decay=5e-4, decay="weights")
    assert sorted(groups, key=lambda g: (g[1], g[2])) == [
        (SLOW, pytest.approx(0.01), 0.0),
        (BIASES | SCALE, 0.1, 0.0),
        (WEIGHTS, 0.1, 5e-4),
    ]


def test_groups_are_never_empty_and_leave_out_what_is_frozen():
    assert _groups(_net(), weight_decay=0.0, decay="weights") == [(WEIGHTS | BIASES, 0.1, 0.0)]
    net = _with_scalars()
    for name, parameter in net.named_parameters():
        parameter.requires_grad = name in WEIGHTS
    assert _groups(net, weight_decay=5e-4, decay="weights") == [(WEIGHTS, 0.1, 5e-4)]


def test_an_optimizer_moves_a_scalar_at_its_own_rate():
    net = _with_scalars()
    optimizer = torch.optim.SGD(param_groups(net, 0.1), lr=0.1)
    net(X).sum().backward()
    optimizer.step()
    shift, scale = net.body[0].input_bias.value, net.body[2].output_scale.value
    assert shift.item() == pytest.approx(0.5 - 0.01 * shift.grad.item())
    assert scale.item() == pytest.approx(2.0 - 0.1 * scale.grad.item())


class Keywords(nn.Module):
    """Layers that are called by keyword, one of them with the input last."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 3), nn.Bilinear(3, 1, 3)

    def forward(self, x):
        return x + self.outer(input2=x[:, :1], input1=self.inner(input=x))


def test_modules_may_be_called_by_keyword():
    net, plain = Keywords(), Keywords()
    plain.load_state_dict(net.state_dict())
    attach_scalar(Scalar("input_bias", 0.5), net.inner, net.inner)
    attach_scalar(Scalar("input_bias", -1.0), net.outer, net.outer)
    attach_scalar(Scalar("output_scale", 2.0), net.outer, net.outer)
    expected = X + 2 * plain.outer(plain.inner(X + 0.5) - 1, X[:, :1])
    torch.testing.assert_close(net(X), expected)
    torch.testing.assert_close(copy.deepcopy(net)(X), expected)


class Taken(nn.Linear):
    """A layer that has attributes of its own by the names of scalars."""

    input_bias = "relative"

    def __init__(self, width):
        super().__init__(width, width)
        self.output_scale = 0.5
        self.register_parameter("output_bias", nn.Parameter(torch.zeros(width)))

    def forward(self, x):
        return super().forward(x) * self.output_scale + self.output_bias


def test_names_that_are_taken_are_left_to_the_network():
    net = nn.Sequential(Taken(3), nn.Linear(3, 3))
    before = net(X)
    for kind in ("input_bias", "output_scale", "output_bias"):
        attach_scalar(Scalar(kind, 1.0 if kind == "output_scale" else 0.0), net[0], net[0])
    assert [name for name, _ in named_scalars(net)] == [f"0.added_{k}" for k in ("input_bias", "output_scale", "output_bias")]
    assert torch.equal(net(X), before)
    detach_scalars(net)
    assert net[0].output_scale == 0.5 and "0.output_bias" in net.state_dict() and torch.equal(net(X), before)
