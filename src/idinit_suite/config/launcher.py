"""Where the runs of a sweep take place, by the config's ``launcher``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from idinit.options import Options

_MOST_PROCESSES = 1024


def _checked_jobs(jobs: object) -> object:
    if jobs == "auto" or (isinstance(jobs, int) and not isinstance(jobs, bool) and jobs >= 1):
        return jobs
    raise ValueError("give a whole number, at least 1, or auto")


class LauncherConfig(Options):
    """Where runs take place; see `idinit_suite.experiments.launcher`.

    Attributes:
        name: One of the three.
        jobs: Runs at once; ``auto`` for what is fastest here, see `idinit_suite.experiments.concurrency`.
        processes: Processes that train each run together, on each node.
        nodes: Slurm: nodes of each job, which train each run together.
        hours: Slurm: longest time of a job.
        partition: Slurm: where, or None for its default.
        gpus: Slurm: of each node of a job.
        cores: Slurm: of each node of a job.
        memory_gb: Slurm: of each node of a job, or None for its default.
    """

    model_config = ConfigDict(frozen=True)

    name: Literal["serial", "local", "slurm"] = "serial"
    jobs: Annotated[int | Literal["auto"], BeforeValidator(_checked_jobs)] = 1
    processes: Annotated[int, Field(ge=1, le=_MOST_PROCESSES)] = 1
    nodes: Annotated[int, Field(ge=1, le=_MOST_PROCESSES)] = 1
    hours: Annotated[float, Field(gt=0, le=8760)] = 24
    partition: str | None = None
    gpus: NonNegativeInt = 0
    cores: PositiveInt = 1
    memory_gb: PositiveInt | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> LauncherConfig:
        if self.jobs == "auto" and self.name == "slurm":
            raise ValueError("jobs=auto is measured on this machine, for launcher=local: give a number")
        if self.processes > 1 and self.name == "local":
            raise ValueError("processes=1 with launcher=local: runs of several processes take launcher=serial or slurm")
        if self.nodes > 1 and self.name != "slurm":
            raise ValueError(f"nodes=1 with launcher={self.name}: a run over several nodes takes launcher=slurm")
        if self.world_size > _MOST_PROCESSES:
            raise ValueError(f"nodes={self.nodes} times processes={self.processes} are more than {_MOST_PROCESSES} processes")
        return self

    @property
    def world_size(self) -> int:
        """Processes that train each run together, on all its nodes."""
        return self.nodes * self.processes
