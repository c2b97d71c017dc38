"""Where the runs of a sweep take place, as ``launcher`` says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PositiveInt, model_validator

from idinit.options import Options


def _checked_jobs(jobs: object) -> object:
    if jobs == "auto" or (isinstance(jobs, int) and not isinstance(jobs, bool) and jobs >= 1):
        return jobs
    raise ValueError("say a whole number from 1 on, or auto")


class LauncherConfig(Options):
    """Where runs take place; see `idinit_suite.experiments.launcher`.

    Attributes:
        name: One of the three.
        jobs: Runs at once; ``auto`` for what is fastest here, see `idinit_suite.experiments.concurrency`.
        processes: Processes that train each run together.
        hours: Slurm: longest time of a job.
        partition: Slurm: where, or None for its default.
        gpus: Slurm: of each job.
        cores: Slurm: of each job.
        memory_gb: Slurm: of each job, or None for its default.
    """

    model_config = ConfigDict(frozen=True)

    name: Literal["serial", "local", "slurm"] = "serial"
    jobs: Annotated[int | Literal["auto"], BeforeValidator(_checked_jobs)] = 1
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    hours: Annotated[float, Field(gt=0, le=8760)] = 24
    partition: str | None = None
    gpus: Annotated[int, Field(ge=0)] = 0
    cores: PositiveInt = 1
    memory_gb: PositiveInt | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> LauncherConfig:
        if self.jobs == "auto" and self.name == "slurm":
            raise ValueError("jobs=auto is measured on this machine, for launcher=local: give a number")
        if self.processes > 1 and self.name == "local":
            raise ValueError("processes=1 with launcher=local: runs of several processes take launcher=serial or slurm")
        return self
