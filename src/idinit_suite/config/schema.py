"""What one run is: the checked configuration, its hash, and the overrides it is composed from.

Hydra composes ``configs/`` with overrides; everything is checked here, before any data is read. Entries of the registries
(models, data sets, initializers, optimizers, schedules) are choices of the group of the same name, with their defaults,
without a file; a file in ``configs/`` is a preset.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import torch
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError
from pydantic_core import to_jsonable_python
from torch import nn

from idinit.errors import UsageError, did_you_mean
from idinit.initializers import INITIALIZERS
from idinit.options import Options
from idinit.registry import Entry, Registry, explain

from ..data import DATASETS
from ..data.base import DatasetInfo
from ..models import MODELS, ModelInfo
from ..optim.optimizers import OPTIMIZERS
from ..optim.schedules import SCHEDULES

CONFIG_DIR = Path(__file__).parents[1] / "configs"  # in the repository a link to configs/ at its root
GROUPS: dict[str, Registry[Any, Any]] = {
    "model": MODELS,
    "data": DATASETS,
    "init": INITIALIZERS,
    "optim": OPTIMIZERS,
    "schedule": SCHEDULES,
}
Budget = Literal["smoke", "cpu", "paper"]
BUDGETS: tuple[str, ...] = get_args(Budget)
_NOT_HASHED = {"impl", "diagnostics", "wandb", "paths", "budget", "arm"}  # what leaves the outcome alone


Seed = Annotated[int, Field(ge=0, lt=2**63)]
M = TypeVar("M", bound=BaseModel)


class _Strict(Options):
    model_config = ConfigDict(frozen=True)


class TrainConfig(_Strict):
    """How a network is trained, all that changes the trained weights beyond the order of floating-point sums."""

    epochs: Annotated[float, Field(gt=0, le=1e5)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: Annotated[float, Field(gt=0)] | None  # largest norm of the gradient, None for any
    evaluate_every: Annotated[float, Field(gt=0, le=1e5)]  # epochs
    log_every: PositiveInt  # steps
    precision: Literal["float32", "tf32", "bf16", "fp16"]  # of forward passes; weights are in float32
    compile: bool  # by torch.compile, which fuses operations and so rounds differently
    accumulate: PositiveInt = 1  # parts of a batch that are passed through the network one after the other
    sync_batchnorm: bool = True  # BatchNorm over the batch of all processes, instead of each one's share


class ImplConfig(_Strict):
    """Knobs that change speed but not the outcome.

    The trained bits depend on the device and the number of threads as they do on the model of the processor: these
    settle the order in which a sum's terms are added, and nothing else.
    """

    device: Literal["auto", "cpu", "cuda"]
    channels_last: bool
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    workers: Annotated[int, Field(ge=0, le=256)] | None = None  # processes that decode pictures, a process of the run
    checkpoint_every: PositiveInt  # steps
    check_every: PositiveInt = 16  # steps after which the host waits for the device, to see whether the loss is finite
    cuda_graphs: bool = False  # of compiled networks: a step is launched as a whole
    deterministic: bool = False  # CUDA: the same bits in every process, at some cost
    checkpoint_activations: bool = False  # blocks are computed again in the backward pass instead of being kept
    profile: bool = False  # torch's profiler: a table of operators at the end, and profile.json
    detect_anomaly: bool = False  # torch's anomaly detection: an error where a gradient becomes NaN

    def workers_of(self, processes: int) -> int:
        """Processes that decode pictures for each process of a run; by default these share the cores, up to eight each."""
        return min(8, (os.cpu_count() or 1) // processes) if self.workers is None else self.workers

    def torch_device(self) -> torch.device:
        """The device meant; ``auto`` is CUDA where there is one."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("'impl.device=cuda': there is no CUDA device here; use impl.device=cpu or auto")
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")


class DiagnosticsConfig(_Strict):
    """What is measured of a network beside its training, and leaves that alone."""

    every: PositiveInt | None = None  # steps after which the layers are measured; None: never


class WandbConfig(_Strict):
    """Where the mirror of the run goes."""

    mode: Literal["auto", "online", "offline", "disabled"]
    project: str


def _expand_user(path: Path) -> Path:
    return Path(os.path.expanduser(path))


Folder = Annotated[Path, AfterValidator(_expand_user)]  # ~ is the home folder, which a shell expands only where a word begins


class PathsConfig(_Strict):
    """Folders: data root, run folders, archive of results."""

    data: Folder
    runs: Folder
    results: Folder


class RunConfig(_Strict):
    """One training: model, data, initializer, recipe, seed. Everything a run folder's ``config.yaml`` says."""

    experiment: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    arm: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # the row of the experiment's table
    phase: Literal["main", "tune"]
    budget: Budget
    seed: Seed
    model: dict[str, Any]
    data: dict[str, Any]
    init: dict[str, Any]
    optim: dict[str, Any]
    schedule: dict[str, Any]
    train: TrainConfig
    processes: PositiveInt = 1  # that train the run together, where their number changes the outcome; else 1
    impl: ImplConfig
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()
    wandb: WandbConfig
    paths: PathsConfig

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that name the run: of all that changes its outcome."""
        return hash_of(self.model_dump(mode="json"))

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.init['name']}-s{self.seed}-{self.hash}"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.paths.runs / self.experiment / self.name

    def entry(self, group: str) -> str:
        """What the registry calls a group's entry."""
        return entry_name(getattr(self, group))

    def options(self, group: str) -> dict[str, Any]:
        """The options of a group's entry, without its name."""
        section = getattr(self, group)
        return {key: value for key, value in section.items() if key != name_key(section)}

    def require_whole_parts(self, processes: int = 1) -> None:
        """Makes sure that a batch can be cut for the processes of a run, and for each one's ``train.accumulate``.

        Raises:
            UsageError: If it cannot.
        """
        size, parts = self.data.get("batch_size"), processes * self.train.accumulate
        if size is not None and size % parts:
            raise UsageError(
                f"data.batch_size={size} is no multiple of {parts} (train.accumulate={self.train.accumulate}, "
                f"processes: {processes}): change one"
            )

    def to_yaml(self) -> str:
        """The configuration as text, in the words of ``configs/``."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def name_key(section: Mapping[str, Any]) -> str:
    """The key under which a section of a configuration holds what the registry calls its entry.

    This is ``name``, but for networks of other libraries, of which ``name`` is an option.
    """
    return "library" if "library" in section else "name"


def entry_name(section: Mapping[str, Any]) -> str:
    """What the registry calls the entry of a section, such as ``{"name": "resnet", "depth": 20}``."""
    return str(section.get(name_key(section)))


def _section(entry: Entry[Any, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {"library" if "name" in entry.options.model_fields else "name": entry.name, **options}


def checked(model: type[M], settings: Any, where: str) -> M:
    """Settings as a model of them.

    Args:
        model: What they must be.
        settings: Plain values.
        where: What the config calls them, e.g. ``wandb``; empty for the top level.

    Raises:
        UsageError: Naming each unknown key and value out of range.
    """
    if not isinstance(settings, Mapping):
        raise UsageError(f"'{where}={settings}': it has the keys {', '.join(model.model_fields)}, so say {where}.KEY=VALUE")
    try:
        return model(**settings)
    except ValidationError as error:
        raise UsageError(explain(error, where, model.model_fields)) from None


def check(config: DictConfig | Mapping[str, Any]) -> RunConfig:
    """Checks a composed configuration.

    Raises:
        UsageError: Naming each unknown key, unknown name and value out of range.
    """
    values = resolve(config) if isinstance(config, DictConfig) else config
    settings: dict[str, Any] = {str(k): v for k, v in values.items() if k not in ("grid", "budgets", "launcher")}
    experiment = settings.get("experiment")
    settings["experiment"] = experiment["name"] if isinstance(experiment, dict) else experiment
    settings["arm"] = settings.get("arm") or (settings.get("init") or {}).get("name")
    settings |= _checked_groups(settings)
    settings["processes"] = _processes(settings)
    optim = dict(settings["optim"])
    OPTIMIZERS[optim.pop("name")].build(nn.Linear(1, 1, device="meta"), **optim)  # refuses options that do not go together
    model, data = (GROUPS[group][entry_name(settings[group])] for group in ("model", "data"))
    if not is_compatible(data, model):
        fitting = ", ".join(name for name in DATASETS if is_compatible(DATASETS[name], model))
        raise UsageError(f"model '{model.name}' cannot take data '{data.name}': data that fits it: {fitting}")
    length, positions = settings["data"].get("length"), settings["model"].get("positions")
    if length and positions and length > positions:  # models say so too, but data are read before one is built
        raise UsageError(f"texts of data.length={length} tokens are longer than model.positions={positions}: change one")
    try:
        run = RunConfig(**settings)
    except ValidationError as error:
        raise UsageError(f"config: {explain(error, '', RunConfig.model_fields)}") from None
    run.require_whole_parts()
    if run.impl.cuda_graphs and not run.train.compile:
        raise UsageError("impl.cuda_graphs=true records a compiled network: say train.compile=true too")
    return run


def _processes(settings: Mapping[str, Any]) -> int:
    """The number of processes that torchrun started, where the outcome depends on it, else 1.

    It does if BatchNorm sees each process's share of a batch alone, and if each process draws a mask for its share (dropout,
    stochastic depth), as a network from elsewhere may. Gradients are averaged, which leaves the outcome alone.
    """
    model = settings["model"]
    foreign = MODELS[entry_name(model)].info.foreign
    draws_masks = foreign or any(value for option, value in model.items() if option.startswith("drop"))
    train = settings.get("train")
    local_batchnorm = isinstance(train, Mapping) and train.get("sync_batchnorm") is False
    return int(os.environ.get("WORLD_SIZE", "1")) if draws_masks or local_batchnorm else 1


def completed(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run of long ago would say today: options that are new since then have their defaults.

    Args:
        config: The content of a run's ``config.yaml``, paths not needed.

    Returns:
        The content as plain values, or None where an entry or an option is gone, so that no run of today can be the same.
    """
    try:
        train = TrainConfig(**config.get("train", {})).model_dump(mode="json")
        return to_jsonable_python({**config, "train": train, **_checked_groups(config)})
    except (UsageError, ValidationError):
        return None


def hash_of_stored(config: Mapping[str, Any]) -> str | None:
    """The hash that a run of long ago has today; None where no run of today can be the same. See `completed`."""
    settings = completed(config)
    return None if settings is None else hash_of(settings)


def hash_of(settings: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of all that changes the outcome of a run.

    Args:
        settings: A checked configuration as plain values; other keys than those of `RunConfig` are passed over.
    """
    content = {key: value for key, value in settings.items() if key in RunConfig.model_fields.keys() - _NOT_HASHED}
    return hashlib.sha256(json.dumps(_without_nulls(content), sort_keys=True).encode()).hexdigest()[:8]


def _without_nulls(value: Any) -> Any:
    """Settings that say something: an option that is new and off by default (null) renames no run."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _checked_groups(settings: Mapping[str, Any]) -> dict[str, Any]:
    groups = {}
    for group, registry in GROUPS.items():
        section = dict(settings.get(group) or {})
        name = entry_name(section)
        options = {key: value for key, value in section.items() if key != name_key(section) and value != "???"}
        groups[group] = _section(registry[name], registry.check(name, options))
    return groups


def is_compatible(data: Entry[Any, DatasetInfo], model: Entry[Any, ModelInfo]) -> bool:
    """Whether a model may take some data; of data of one's own this is known when they are read."""
    given, taken = (get_args(kinds) or (kinds,) for kinds in (data.info.gives, model.info.takes))
    return not set(given).isdisjoint(taken)


def resolve(config: DictConfig) -> dict[str, Any]:
    """A composed configuration as plain values, its interpolations filled in.

    Raises:
        UsageError: If one leads nowhere, as for a budget that the experiment does not have.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise _missing_budget(config) or UsageError(f"config: {str(error).splitlines()[0]}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _missing_budget(config: DictConfig) -> UsageError | None:
    """Why an experiment has no values for a budget, if that is what is wrong."""
    experiment, budget = OmegaConf.select(config, "experiment.name"), str(config.budget)
    said = config.get("budgets")
    budgets = {str(n): v if isinstance(v, Mapping) else {} for n, v in said.items()} if isinstance(said, DictConfig) else {}
    keys = sorted({key for values in budgets.values() for key in values})
    if not budgets or (missing := [key for key in keys if key not in budgets.get(budget, {})]) == []:
        return None
    if budget in budgets or budget in BUDGETS:
        return UsageError(
            f"experiment '{experiment}' has no value of {', '.join(missing)} for budget '{budget}': add it in its file under "
            f"budgets.{budget}, or choose another budget. Valid: {', '.join(sorted(budgets.keys() - {budget}))}"
        )
    return UsageError(f"unknown budget '{budget}': {did_you_mean(budget, budgets)}")


def register_choices() -> None:
    """Makes each registry entry without a file a choice of its Hydra group, and registers the resolvers."""
    for group, registry in GROUPS.items():
        for name in registry:
            if _registered.get((group, name)) is not registry[name]:
                _register_choice(group, registry[name])
                _registered[group, name] = registry[name]
    if not OmegaConf.has_resolver("default_budget"):
        OmegaConf.register_new_resolver("expanduser", os.path.expanduser)
        OmegaConf.register_new_resolver("default_budget", lambda: "paper" if torch.cuda.is_available() else "cpu")


_registered: dict[tuple[str, str], Entry[Any, Any]] = {}  # what Hydra knows already: telling it takes milliseconds an entry


def _register_choice(group: str, entry: Entry[Any, Any]) -> None:
    if (CONFIG_DIR / group / f"{entry.name}.yaml").exists():
        return
    defaults = {k: "???" if f.is_required() else f.get_default() for k, f in entry.options.model_fields.items()}
    node = OmegaConf.create(_section(entry, json.loads(json.dumps(defaults, default=str))))
    ConfigStore.instance().store(group=group, name=entry.name, node=node)


def compose(overrides: Sequence[str]) -> DictConfig:
    """Composes ``configs/train.yaml`` with Hydra overrides.

    Raises:
        UsageError: If an override names something that is not there.
    """
    check_choices(overrides)
    try:
        return _compose(overrides)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise usage_error(error, overrides) from None


def _compose(overrides: Sequence[str]) -> DictConfig:
    """Sets values as Hydra does, on a copy of what it makes of the choices: a grid has few choices and many values."""
    values = {text: override for text in overrides if (override := _value(text)) is not None}
    config = _compose_with_hydra(tuple(text for text in overrides if text not in values)).copy()
    try:
        for text in overrides:
            if text in values:
                OmegaConf.update(config, values[text].key_or_group, values[text].value(), merge=True)
    except OmegaConfBaseException:
        return _compose_with_hydra(tuple(overrides)).copy()  # which says what is wrong
    return config


@functools.lru_cache(maxsize=4096)
def _value(text: str) -> Override | None:
    """An override that gives a key of the composed configuration one value; None for any other."""
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        return None
    key = override.key_or_group
    changes = override.type == OverrideType.CHANGE and override.package is None and not override.is_sweep_override()
    return override if changes and "/" not in key and not key.startswith("hydra") and key not in _groups() else None


def _groups() -> set[str]:
    return {*GROUPS, *(path.name for path in CONFIG_DIR.iterdir() if path.is_dir())}


@functools.lru_cache(maxsize=1024)  # a tenth of a second each
def _compose_with_hydra(overrides: tuple[str, ...]) -> DictConfig:
    register_choices()
    GlobalHydra.instance().clear()  # a failed ``hydra.main`` leaves its own behind
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return hydra_compose("train", overrides=list(overrides))


def check_choices(overrides: Sequence[str]) -> None:
    """Finds an override that chooses nothing, which Hydra answers with a traceback.

    Raises:
        UsageError: If there is one, such as ``model=null``.
    """
    groups = _groups()
    for text in overrides:
        group, equals, _ = text.lstrip("+~").partition("=")
        if group not in groups:
            continue
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            continue  # said with the others
        choice = override.value() if equals else None
        if override.is_delete() or not (override.is_sweep_override() or (isinstance(choice, str) and choice)):
            files = (path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))
            raise UsageError(f"{text} chooses nothing: {did_you_mean(choice, {*GROUPS.get(group, ()), *files})}")


def usage_error(error: Exception, overrides: Sequence[str]) -> UsageError:
    """Hydra's complaint about an override or a file as one line with the nearest valid names."""
    if isinstance(error, yaml.YAMLError):
        return UsageError(f"a file of the configuration is no YAML: {' '.join(str(error).split())}")
    message = str(error) or str(error.__cause__)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        return UsageError(f"unknown {group} '{name}': {did_you_mean(name, error.options)}")
    if isinstance(error, OverrideParseException):
        return UsageError(f"cannot read '{error.override}': say key=value, and key=\"'value'\" if it has special characters")
    if found := re.match(r"Could not override '(.+?)'", message):
        parent, _, leaf = found[1].rpartition(".")
        return UsageError(f"unknown key '{found[1]}': {did_you_mean(leaf, _keys_of(parent, overrides))}")
    if found := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'", message):
        return UsageError(f"'{found[1]}' has several values, and one run takes one: choose, or give scripts/train.py -m")
    return UsageError(message.splitlines()[0])


def _keys_of(node: str, overrides: Sequence[str]) -> set[str]:
    """The keys below a node, with the groups' entries that some overrides choose."""
    choice = re.compile(rf"(experiment|{'|'.join(GROUPS)})=[\w.-]+")
    config = _compose([text for text in overrides if choice.fullmatch(text)])
    found = OmegaConf.select(config, node) if node else config
    return {*map(str, found), *(_groups() if not node else ())} if isinstance(found, DictConfig) else set()
