"""The checked configuration of one run, and the hash over it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import torch
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from idinit.errors import UsageError
from idinit.options import Options
from idinit.registry import explain

from .groups import entry_name, name_key

Budget = Literal["smoke", "cpu", "paper"]
BUDGETS: tuple[str, ...] = get_args(Budget)
_NOT_HASHED = {"impl", "diagnostics", "wandb", "paths", "budget", "arm"}  # what does not change the outcome


Seed = Annotated[int, Field(ge=0, lt=2**63)]
M = TypeVar("M", bound=BaseModel)


class _Strict(Options):
    model_config = ConfigDict(frozen=True)


class TrainConfig(_Strict):
    """The recipe of a training: all that changes the trained weights beyond the order of floating-point sums."""

    epochs: Annotated[float, Field(gt=0, le=1e5)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    clip_norm: PositiveFloat | None  # largest norm of the gradient, None for any
    evaluate_every: Annotated[float, Field(gt=0, le=1e5)]  # epochs
    log_every: PositiveInt  # steps
    precision: Literal["float32", "tf32", "bf16", "fp16"]  # of forward passes; weights are in float32
    compile: bool  # by torch.compile, which fuses operations and so rounds differently
    accumulate: PositiveInt = 1  # parts of a batch that are passed through the network one after the other
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay of an average of the weights, evaluated beside them
    sync_batchnorm: bool = True  # BatchNorm over the batch of all processes, instead of each one's share


class ImplConfig(_Strict):
    """Knobs that change speed but not the outcome.

    The trained bits depend on the device and the number of threads as they do on the model of the processor: these
    settle the order in which a sum's terms are added, and nothing else.
    """

    device: Literal["auto", "cpu", "cuda"]
    channels_last: bool
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    workers: Annotated[int, Field(ge=0, le=256)] | None = None  # processes that decode pictures for each process of the run
    checkpoint_every: PositiveInt  # steps
    check_every: PositiveInt = 16  # steps after which the host waits for the device, to see whether the loss is finite
    cuda_graphs: bool = False  # of compiled networks: a step is launched as a whole
    deterministic: bool = False  # CUDA: the same bits in every process, at some cost
    checkpoint_activations: bool = False  # blocks are computed again in the backward pass instead of being kept
    fsdp: bool = False  # weights, gradients and the optimizer's state are shared out over the processes of a run
    profile: bool = False  # torch's profiler: a table of operators at the end, and profile.json
    detect_anomaly: bool = False  # torch's anomaly detection: an error where a gradient becomes NaN

    def workers_of(self, processes: int) -> int:
        """Processes that decode pictures for each process of a run on one machine; by default they share its cores, up to 8."""
        return min(8, (os.cpu_count() or 1) // processes) if self.workers is None else self.workers

    def set_num_threads(self) -> None:
        """Sets the number of torch's threads in this process, where one is asked for."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def torch_device(self) -> torch.device:
        """The device meant; ``auto`` is CUDA where there is one."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("'impl.device=cuda': there is no CUDA device here; use impl.device=cpu or auto")
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")


class DiagnosticsConfig(_Strict):
    """Measurements during training, which do not change it."""

    every: PositiveInt | None = None  # steps after which the layers are measured; None: never


class WandbConfig(_Strict):
    """The mirror of the run in Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"]
    project: str


def _folder(path: Path) -> Path:
    path = Path(os.path.expanduser(path))  # the home folder, which a shell expands only where a word begins
    there = next((place for place in (path, *path.parents) if place.exists()), path)
    if there.is_file():
        raise ValueError(f"{there} is a file: name a folder, which need not be there yet")
    return path


Folder = Annotated[Path, AfterValidator(_folder)]


class PathsConfig(_Strict):
    """Folders: data root, run folders, archive of results."""

    data: Folder
    runs: Folder
    results: Folder


class RunConfig(_Strict):
    """One training: model, data, initializer, recipe, seed. Everything a run folder's ``config.yaml`` says."""

    experiment: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    arm: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # the variant, a row of the experiment's table; the name that archives use
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
        """The registry's name for a group's entry."""
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
                f"data.batch_size={size} is not a multiple of {parts} (train.accumulate={self.train.accumulate}, "
                f"processes: {processes}): change one"
            )

    def to_yaml(self) -> str:
        """The configuration as text, in the words of ``configs/``."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


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
        raise UsageError(f"'{where}={settings}': it has the keys {', '.join(model.model_fields)}, so set {where}.KEY=VALUE")
    try:
        return model(**settings)
    except ValidationError as error:
        raise UsageError(explain(error, where, model.model_fields)) from None


def hash_of(settings: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of all that changes the outcome of a run.

    Args:
        settings: A checked configuration as plain values; keys that `RunConfig` does not have are ignored.
    """
    content = {key: value for key, value in settings.items() if key in RunConfig.model_fields.keys() - _NOT_HASHED}
    return hashlib.sha256(json.dumps(_without_nulls(content), sort_keys=True).encode()).hexdigest()[:8]


def _without_nulls(value: Any) -> Any:
    """Settings without nulls, so that a new option that is off by default (null) changes no hash."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value
