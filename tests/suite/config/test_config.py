import dataclasses
import json
from pathlib import Path

import pytest
import torch
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from idinit.errors import UsageError
from idinit_suite.config import CONFIG_DIR, GROUPS, RunConfig, check, compose, hash_of_stored, hydra_words
from idinit_suite.config.check import is_compatible
from idinit_suite.config.experiment import list_experiments
from idinit_suite.data import DATASETS, Images, MaskedTokens, Sentences
from idinit_suite.data.base import DatasetInfo
from idinit_suite.models import MODELS
from idinit_suite.optim.optimizers import OPTIMIZERS


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


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=cifar10-sensitivity", "budget=paper", "optim.lr=1e-3", "optim=adamw", "seed=3", "optim.lr=0.5"],
        ["train.clip_norm=1", "grid.seeds=[4,5]", "+grid.sweep={optim.lr: [1, 2]}", "~train.compile", "experiment=demo-text"],
        ["train={epochs: 2, compile: true}", "++optim.lr=0.3", "optim.lr=${train.epochs}", 'paths.data="a b"', "recipe=pan"],
    ],
)
def test_values_are_set_as_hydra_sets_them(overrides: list[str]) -> None:
    composed = compose(overrides)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        assert composed == hydra_compose("train", overrides=overrides)
    assert OmegaConf.is_struct(composed)


def test_an_entry_that_is_registered_later_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    with pytest.raises(UsageError, match="'late'"):
        run("optim=late")
    monkeypatch.setitem(OPTIMIZERS._entries, "late", dataclasses.replace(OPTIMIZERS["adam"], name="late"))
    assert run("optim=late", "optim.lr=2").optim == {**run("optim=adam").optim, "name": "late", "lr": 2.0}


def test_checking_draws_nothing_from_the_global_state() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    run("optim=adamw")
    assert torch.equal(torch.get_rng_state(), before)


def partner(group: str, name: str) -> list[str]:
    """Data for a model, and a model for data."""
    if group == "model":
        return ["data=" + next(d for d in DATASETS if d not in REQUIRED and is_compatible(DATASETS[d], MODELS[name]))]
    if group == "data":
        return ["model=" + next(m for m in MODELS if m not in REQUIRED and is_compatible(DATASETS[name], MODELS[m]))]
    return []


# Options without a default, of data and models of one's own.
REQUIRED = {
    **{"timm": {"name": "resnet10t"}, "torchvision": {"name": "resnet18"}, "hf": {"name": "bert"}},
    **{"python": {"target": "my_module:make"}, "image_folder": {"folder": "pictures"}},
    **{"texts": {"train": "my.csv"}, "hub": {"path": "owner/name"}},
}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, registry in GROUPS.items() for name in registry])
def test_every_registry_entry_is_a_choice_of_its_group(group: str, name: str) -> None:
    registry = GROUPS[group]
    required = REQUIRED.get(name, {})
    config = run(f"{group}={name}", *partner(group, name), *(f"{group}.{key}={value}" for key, value in required.items()))
    assert config.entry(group) == name
    assert config.options(group) == registry.check(name, required)
    assert required.items() <= getattr(config, group).items()


@pytest.mark.parametrize("preset", [path.stem for path in sorted((CONFIG_DIR / "model").glob("*.yaml"))])
def test_every_preset_of_a_network_can_be_built(preset: str) -> None:
    family = compose([f"model={preset}"]).model.name
    config = run(f"model={preset}", *partner("model", family))
    side = 224 if config.model.get("patch", 4) > 4 else 32
    spec = MaskedTokens(1000, 128, 0) if family == "bert" else Images((3, side, side), 10)
    with torch.device("meta"):
        assert any(True for _ in MODELS[family].build(spec, **config.options("model")).parameters())


@pytest.mark.parametrize("group", ["model", "data"])
def test_what_has_no_default_is_asked_for(group: str) -> None:
    for name in set(REQUIRED) & set(GROUPS[group]):
        with pytest.raises(UsageError, match=f"'{group}.{next(iter(REQUIRED[name]))}' is missing"):
            run(f"{group}={name}", *partner(group, name))


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
        (["model=null"], "model=null chooses nothing: Valid: allconv, bert"),
        (["optim.nesterov=true", "optim.momentum=0"], "optim.nesterov=true needs a momentum"),
        (["train.accumulate=3"], "data.batch_size=128 is not a multiple of 3 (train.accumulate=3, processes: 1): change one"),
        (
            ["model=bert", "data=corpus", "data.length=600"],
            "texts of data.length=600 tokens are longer than model.positions=512: change one",
        ),
        (["optim=adam", "optim.betaz=1"], "unknown key 'optim.betaz': did you mean 'betas'"),
        (["optim=adam", "optim.betas=[0.9,0.99]", "sede=1"], "unknown key 'sede': did you mean 'seed'"),
        (["optim.lr=-0.1"], "optimizer 'sgd': 'optim.lr=-0.1': input should be greater than 0"),
        (["model.depth=57"], "the depth of a CIFAR ResNet is 6n + 2"),
        (["seed=-1"], "'seed=-1': input should be greater than or equal to 0"),
        (["train.epochs=0"], "'train.epochs=0': input should be greater than 0"),
        (["train.precision=fp8"], "'train.precision=fp8': input should be 'float32', 'tf32', 'bf16' or 'fp16'"),
        (["+extra=1"], "unknown key 'extra'"),
        (["+train.epoch=1"], "unknown key 'train.epoch': did you mean 'epochs'"),
        (["budget=huge"], "'budget=huge': input should be 'smoke', 'cpu' or 'paper'"),
        (["experiment=demo", "budget=huge"], "unknown budget 'huge': Valid: cpu, paper, smoke"),
        (["optim.lr="], "optimizer 'sgd': 'optim.lr='"),
        (["train=3"], "train"),
        (["nonsense"], "cannot read 'nonsense': write key=value"),
        (["paths.data=it's"], "cannot read 'paths.data=it's': write key=value"),
        (["seed=0,1"], "'seed=0,1' has several values"),
        (["seed=range(3)"], "'seed=range(3)' has several values"),
    ],
)
def test_a_mistake_gets_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(*overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("path", ["data", "/with space/a,b", "it's (here) [or] {there}", "a=b", 'it\'s "quoted"'])
def test_a_path_is_taken_as_it_is(path: str) -> None:
    assert run(*hydra_words([f"paths.data={path}"])).paths.data == Path(path)


@pytest.mark.parametrize("path", ["data", "/with space/a=b", "it's (here) [or] {there}"])
def test_so_is_a_path_of_ones_own_data(path: str) -> None:
    assert run("data=image_folder", *hydra_words([f"data.folder={path}"])).data["folder"] == path
    texts = ["model=textcnn", "data=texts", "data.train=a.csv"]
    assert run(*texts, *hydra_words([f"data.validation={path}"])).data["validation"] == path
    for held_out in (500, 0.1, None):
        overrides = hydra_words([f"data.validation={'null' if held_out is None else held_out}"])
        assert run(*texts, *overrides).data["validation"] == held_out


def test_only_paths_are_quoted_and_only_once() -> None:
    untouched = ["-m", "data.folder=a,b", "init=idinit,fixup", "data=digits", "paths.data='it\\'s'", 'paths.runs="a b"']
    assert hydra_words(untouched) == untouched


@pytest.mark.parametrize("place", ["data", "runs", "results"])
@pytest.mark.parametrize("below", ["", "/below"])
def test_a_file_is_no_folder(place: str, below: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.touch()
    with pytest.raises(UsageError, match=f"{file} is a file"):
        run(f"paths.{place}={file}{below}")


def test_the_home_folder_is_found_in_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = run(*hydra_words(["paths.runs=~/r", "paths.results=/a/~b"])).paths
    assert (paths.runs, paths.results) == (tmp_path / "r", Path("/a/~b"))


def test_options_of_hydra_come_before_the_overrides_and_keep_their_values() -> None:
    words = ["init=a,b", "-m", "~train.clip_norm", "--cfg", "job", "seed=0,1"]
    assert hydra_words(words) == ["-m", "--cfg", "job", "init=a,b", "~train.clip_norm", "seed=0,1"]


def test_null_may_be_said_as_an_agent_of_wandb_says_it() -> None:
    assert hydra_words(["train.clip_norm=None", "arm=NoneSuch"]) == ["train.clip_norm=null", "arm=NoneSuch"]
    assert run(*hydra_words(["train.clip_norm=None"])).train.clip_norm is None


def test_the_hash_names_what_changes_the_outcome_and_nothing_else() -> None:
    base = run()
    same = ["impl.channels_last=false", "wandb.mode=offline", "paths.data=elsewhere", "arm=label", "impl.threads=1"]
    assert {run(override).hash for override in same} == {base.hash}
    other = [
        "seed=1",
        "optim.lr=0.2",
        "init.tau=2",
        "init=xavier",
        "model=resnet32",
        "train.epochs=2",
        "data.flip=false",
        "train.precision=float32",
    ]
    hashes = {run(override).hash for override in other}
    assert len(hashes) == len(other) and base.hash not in hashes


def test_a_run_of_long_ago_has_the_hash_of_the_same_run_today() -> None:
    today = run("init=idinit", "init.tau=2")
    stored = json.loads(today.model_dump_json())
    del stored["paths"], stored["init"]["layout"], stored["train"]["accumulate"], stored["optim"]["nesterov"]
    assert hash_of_stored(stored) == today.hash
    assert hash_of_stored({**stored, "seed": 1}) == run("init=idinit", "init.tau=2", "seed=1").hash
    stored["init"]["an_option_of_old"] = 1
    assert hash_of_stored(stored) is None


def test_a_model_is_told_which_data_fit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(DATASETS["cifar10"], info=DatasetInfo(gives=Sentences))
    monkeypatch.setitem(DATASETS._entries, "cifar10", entry)
    with pytest.raises(UsageError, match="'resnet'.*'cifar10'.*cifar100, digits"):
        run("model=resnet", "data=cifar10")


def test_the_folder_is_named_by_experiment_initializer_seed_and_hash() -> None:
    config = run("experiment=demo", "init=fixup", "seed=3", "paths.runs=here")
    assert config.folder == Path("here/demo") / f"fixup-s3-{config.hash}"


def test_config_yaml_says_the_same_again() -> None:
    config = run("experiment=cifar10-resnet20", "init=idinit")
    assert check(OmegaConf.create(config.to_yaml())) == config


def test_the_recipe_of_bert_base_pan_is_that_of_its_source() -> None:
    config = run("experiment=bert-base-pan", "budget=paper")
    assert (config.optim["name"], config.optim["lr"], config.optim["weight_decay"]) == ("adamw", 1e-4, 0.01)
    assert config.schedule == {"name": "cosine", "warmup": 0.025}
    assert (config.data["batch_size"], config.data["length"]) == (1536, 512)
    assert config.train.epochs * config.data["epoch_steps"] == pytest.approx(40 * 4.5e9 / (1536 * 512), rel=0.01)


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_every_experiment_takes_every_optimizer(optimizer: str) -> None:
    for experiment in list_experiments("grid"):
        config = run(f"experiment={experiment}", f"optim={optimizer}")
        assert config.optim.keys() == {"name", *OPTIMIZERS[optimizer].options.model_fields}


@pytest.mark.parametrize(
    ("recipe", "lr", "milestones", "gamma"), [("fixup", 0.1, (0.5, 0.75), 0.1), ("pan", 0.02, (0.3, 0.6, 0.8), 0.2)]
)
def test_a_recipe_is_that_of_its_source(recipe: str, lr: float, milestones: tuple[float, ...], gamma: float) -> None:
    config = run("experiment=cifar10-resnet56", f"recipe={recipe}")
    optim = {"name": "sgd", "lr": lr, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4, "decay": "all"}
    assert config.optim == optim
    assert config.schedule == {"name": "step", "warmup": 0.0, "milestones": milestones, "gamma": gamma}
    assert config.data["batch_size"] == 128 and config.model["shortcut"] == "pad"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["~budgets.cpu"], "experiment 'cifar10-resnet20' has no value of {keys} for budget 'cpu': add it in its file"),
        (["~budgets.cpu.{last}"], "experiment 'cifar10-resnet20' has no value of {last} for budget 'cpu': add it in its file"),
    ],
)
def test_an_experiment_without_the_budget_names_the_missing_keys(overrides: list[str], message: str) -> None:
    keys = sorted(compose(["experiment=cifar10-resnet20"]).budgets.paper)
    words = {"keys": ", ".join(keys), "last": keys[-1]}
    with pytest.raises(UsageError) as caught:
        check(compose(["experiment=cifar10-resnet20", "budget=cpu", *(word.format(**words) for word in overrides)]))
    assert str(caught.value).startswith(message.format(**words)) and "Valid: paper, smoke" in str(caught.value)
