"""``results/<experiment>/README.md``: an experiment's page, made from its archive and its config's head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..archive.forecasts import Forecast
from ..archive.recipe_grid import maps
from ..archive.runs import Archive
from ..archive.variants import BANDS, Arm, Scale, arms, counted, scales
from ..config.experiment import TAGS, ClaimInfo, ExperimentInfo
from .columns import notes
from .formatting import duration
from .outcomes import SILENT
from .recipes import main_table, more_tables
from .tables import grid, tuning
from .verdicts import Verdict, judge


@dataclass(frozen=True)
class Section:
    """The results at one scale.

    Attributes:
        scale: The conditions that all of its runs share.
        arms: The rows of its table.
        verdicts: One for each claim of the experiment.
        tuning: What was tried to pick the learning rates, as Markdown; empty where nothing was.
        figure: Name of its figure's files, without ending.
    """

    scale: Scale
    arms: Sequence[Arm]
    verdicts: Sequence[Verdict]
    tuning: str
    figure: str

    @property
    def metric(self) -> str:
        """What its figure shows of the validation split: ``accuracy`` or ``loss``."""
        return "loss" if self.arms[0].guesses_tokens else "accuracy"

    @property
    def map_figure(self) -> str:
        """Name of the files of its heat maps, where it has a map, without ending."""
        return self.figure.replace("curves", "map", 1)


def sections(info: ExperimentInfo, archive: Archive) -> list[Section]:
    """The results of an experiment, the largest scale first. Its figure has the plain name, for others to point to.

    Raises:
        UsageError: If the experiment names a claim for which there is no verdict function.
    """
    found: list[Section] = []
    for scale in scales(archive):
        rows = arms(archive, scale)
        verdicts = [judge(claim.id, scale, rows) for claim in info.claims]
        figure = f"curves-{scale.slug}" if found else "curves"
        found.append(Section(scale, rows, verdicts, tuning(archive, scale, rows), figure))
    return found


def page(info: ExperimentInfo, archive: Archive, sections: Sequence[Section], forecasts: Sequence[Forecast] = ()) -> str:
    """The page as Markdown.

    Args:
        info: What the config says of the experiment.
        archive: Its runs.
        sections: Its results.
        forecasts: What its runs were forecast to take.
    """
    parts = [
        f"# {info.title}",
        f"Made from `runs.csv`, `curves.csv` and `environments.json` in this folder and from the head of "
        f"`configs/experiment/{info.name}.yaml`; edits are overwritten.",
        f"```\n{info.command}\n```",
        f"Cost: {info.cost}",
        *(_forecast(forecast, archive.runs) for forecast in forecasts),
        *claims_table(info),
        *(part for section in sections for part in _results(info, section)),
        *deviations(info),
        *environments(archive.runs["environment"], archive.environments),
        *_not_run(info, archive, sections),
    ]
    return "\n\n".join(parts) + "\n"


def _forecast(forecast: Forecast, runs: pd.DataFrame) -> str:
    count, seconds = forecast.took(runs)
    variants, epochs = counted(len(forecast.variants), "variant"), f"{forecast.epochs:g} epoch{'s' * (forecast.epochs != 1)}"
    return (
        f"Forecast for {counted(forecast.runs, 'run')} of the {forecast.budget} budget ({variants}, {epochs}), one after the "
        f"other: {duration(forecast.seconds)}. The {counted(count, 'run')} since took {duration(seconds)}."
    )


def against_paper(claim: ClaimInfo, verdict: Verdict) -> str:
    """The paper's value beside what came out."""
    value = "no number" if claim.paper == "-" else claim.paper
    return f"The paper: {value} ({claim.tag}). Ours: {verdict.evidence}"


def claims_table(info: ExperimentInfo) -> list[str]:
    """The claims of the paper that an experiment tests, as a section of its page."""
    if not info.claims:
        return []
    head = ["claim", "what the paper says", "setting", "the paper's value", "known from"]
    rows = [[claim.id, claim.text, claim.setting, claim.paper, claim.tag] for claim in info.claims]
    tags = dict.fromkeys(claim.tag.split(" ")[0] for claim in info.claims)
    legend = "; ".join(f"*{tag}* is {TAGS[tag]}" for tag in tags)
    return ["## Claims", grid(head, rows, left=len(head)), f"Known from: {legend}."]


def _results(info: ExperimentInfo, section: Section) -> list[str]:
    verdicts = [
        f"- **{claim.id}: {verdict.outcome}.** {against_paper(claim, verdict)}"
        for claim, verdict in zip(info.claims, section.verdicts, strict=True)
    ]
    return [
        f"## Results: {section.scale}",
        *main_table(section.arms, bool(section.tuning)),
        notes(section.arms),
        *(["\n".join(verdicts)] if verdicts else []),
        f"![Train loss and validation {section.metric} of each arm over the epochs; the table has the final values]"
        f"({section.figure}.png)",
        f"Lines are means over the runs that completed, bands their 95 % t-intervals (more than {BANDS} lines have none); a "
        f"cross is where a run diverged. [The figure as SVG]({section.figure}.svg)",
        *(_map_figure(section) if maps(section.arms) else []),
        *more_tables(section.arms, info.baseline, info.name),
        *(["### Learning rates tried", section.tuning] if section.tuning else []),
    ]


def _map_figure(section: Section) -> list[str]:
    words = "Heat maps of the validation accuracy at each point of the grid, one an arm; the tables below have test accuracies"
    return [f"![{words}]({section.map_figure}.png)", f"[The heat maps as SVG]({section.map_figure}.svg)"]


def deviations(info: ExperimentInfo) -> list[str]:
    """Ways in which an experiment departs from the paper, as a section of its page."""
    lines = [f"{number}. {line}" for number, line in enumerate(info.deviations, start=1)]
    return ["## Deviations from the paper", "\n".join(lines)] if lines else []


def environments(keys: pd.Series, contents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Where the runs of an archive took place, as a section of its page.

    Args:
        keys: The environment of each run.
        contents: What each environment is.
    """
    lines = [
        f"- `{key}` ({counted(int(count), 'run')}): {_joined(contents[str(key)])}"
        for key, count in keys.value_counts().sort_index().items()
    ]
    return ["## Environment", "\n".join(lines)]


def _joined(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in environment_facts(content))


def environment_facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of an environment, as names and values for people."""
    facts = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            facts += environment_facts(value)
        elif value is not None:
            facts.append((key.replace("_", " "), str(value)))
    return facts


def _not_run(info: ExperimentInfo, archive: Archive, sections: Sequence[Section]) -> list[str]:
    lines = [] if any(section.scale.budget == "paper" for section in sections) else ["The paper budget: no runs."]
    for section in sections:
        most = max(len(arm.runs) for arm in section.arms)
        fewer = [f"{arm.label} {len(arm.runs)}" for arm in section.arms if len(arm.runs) < most]
        if fewer:
            lines.append(f"{section.scale}: fewer than {counted(most, 'run')} of {', '.join(fewer)}.")
        lines += [f"{v.claim}: {v.evidence}" for v in section.verdicts if v.outcome in SILENT]
    main = set(archive.runs.loc[archive.runs["phase"] == "main", "arm"])
    lines += [f"{arm}: tuning runs only." for arm in sorted(set(archive.runs["arm"]) - main)]
    if missing := [arm for arm in info.arms if arm not in set(archive.runs["arm"])]:
        lines.append(f"No runs at all: {', '.join(missing)}.")
    return ["## Not run", "\n".join(f"- {line}" for line in lines)] if lines else []
