from pathlib import Path

import pytest
from omegaconf import OmegaConf

from idinit.config import GROUPS, RunConfig, check, compose, literal_paths
from idinit.errors import UsageError


def run(*overrides: str) -> RunConfig:
    return check(compose(overrides))


def test_defaults_are_filled_in_and_checked() -> None:
    config = run("model=resnet56", "init=fixup", "optim.lr=0.05")
    assert config.model == {
        "name": "resnet", "depth": 56, "width": 16, "norm": "none", "shortcut": "pad", "last_activation": "sum"
    }  # fmt: skip
    assert config.init == {"name": "fixup", "stem": "default"}
    assert config.optim["lr"] == 0.05
    assert config.arm == "fixup"


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, registry in GROUPS.items() for name in registry])
def test_every_registry_entry_is_a_choice_of_its_group(group: str, name: str) -> None:
    config = run(f"{group}={name}")
    registry = GROUPS[group]
    assert getattr(config, group) == {"name": name, **registry.check(name, {})}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init=fixpu"], "unknown init 'fixpu': did you mean 'fixup'"),
        (["model=resnet55"], "unknown model 'resnet55': did you mean 'resnet"),
        (["data=cifar"], "unknown data 'cifar': did you mean 'cifar10"),
        (["experiment=cifar10-resnet65"], "unknown experiment 'cifar10-resnet65': did you mean 'cifar10-resnet56'"),
        (["optim.lrr=0.1"], "unknown key 'optim.lrr': did you mean 'lr'"),
        (["sede=1"], "unknown key 'sede': did you mean 'seed'"),
        (["init.tua=1"], "unknown key 'init.tua': did you mean 'tau'"),
        (["optim=adam", "optim.betaz=1"], "unknown key 'optim.betaz': did you mean 'betas'"),
        (["optim=adam", "optim.betas=[0.9,0.99]", "sede=1"], "unknown key 'sede': did you mean 'seed'"),
        (["optim.lr=-0.1"], "optimizer 'sgd': 'lr=-0.1': input should be greater than 0"),
        (["model.depth=57"], "the depth of a CIFAR ResNet is 6n + 2"),
        (["seed=-1"], "'seed=-1': input should be greater than or equal to 0"),
        (["train.epochs=0"], "'train.epochs=0': input should be greater than 0"),
        (["impl.precision=fp8"], "'impl.precision=fp8': input should be 'float32' or 'bf16'"),
        (["+extra=1"], "unknown key 'extra'"),
        (["budget=huge"], "'budget=huge': input should be 'smoke', 'cpu' or 'paper'"),
        (["experiment=demo", "budget=huge"], "unknown budget 'huge': Valid: cpu, paper, smoke"),
        (["optim.lr="], "optimizer 'sgd': 'lr='"),
        (["train=3"], "train"),
        (["nonsense"], "cannot read 'nonsense': say key=value"),
        (["paths.data=it's"], "cannot read 'paths.data=it's': say key=value"),
        (["seed=0,1"], "'seed=0,1' has several values"),
        (["seed=range(3)"], "'seed=range(3)' has several values"),
    ],
)
def test_a_mistake_gets_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(*overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("path", ["data", "/with space/a,b", "it's (here) [or] {there}", "a=b", 'it\'s "quoted"'])
def test_a_path_is_taken_as_it_is(path: str) -> None:
    assert run(*literal_paths([f"paths.data={path}"])).paths.data == Path(path)


def test_only_paths_are_quoted_and_only_once() -> None:
    untouched = ["-m", "init=idinit,fixup", "data=digits", "paths.data='it\\'s'", 'paths.runs="a b"']
    assert literal_paths(untouched) == untouched


def test_the_hash_names_what_changes_the_outcome_and_nothing_else() -> None:
    base = run()
    same = ["impl.compile=true", "wandb.mode=offline", "paths.data=elsewhere", "arm=label", "impl.threads=1"]
    assert {run(override).hash for override in same} == {base.hash}
    other = ["seed=1", "optim.lr=0.2", "init.tau=2", "init=xavier", "model=resnet32", "train.epochs=2", "data.flip=false"]
    hashes = {run(override).hash for override in other}
    assert len(hashes) == len(other) and base.hash not in hashes


def test_the_folder_is_named_by_experiment_initializer_seed_and_hash() -> None:
    config = run("experiment=demo", "init=fixup", "seed=3", "paths.runs=here")
    assert config.folder == Path("here/demo") / f"fixup-s3-{config.hash}"


def test_config_yaml_says_the_same_again() -> None:
    config = run("experiment=cifar10-resnet20", "init=idinit")
    assert check(OmegaConf.create(config.to_yaml())) == config
