"""The page of an experiment, be it a grid of runs or a study: its sections, and the blocks of its README.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.text import Text

from ..archive.store import Archive
from ..archive.variants import Variant, best_recipes
from ..config.experiment import TAGS, ClaimInfo, ExperimentInfo
from ..training.environment import describe
from ..words import pluralize
from .blocks import Block, Code, Folded, Heading, Items, pictures, write_markdown
from .figures import save_figure
from .layers import MeasuredRun
from .outcomes import SILENT, Verdict
from .sparklines import sparklines
from .table import Table, table, terminal_table


@dataclass(frozen=True)
class Section:
    """The results of an experiment at one scale.

    Attributes:
        scale: The conditions that all of its runs share, in words.
        budget: The budget among them.
        verdicts: One for each claim of the experiment.
        blocks: Its tables and figures.
        runs: Hashes of its runs.
        shorter: Whether it is of a smaller budget or a shorter training than the experiment's first section, or repeats a
            part of it.
        variants: The variants of a grid of runs; none of a study.
        layers: Name of a figure -> the run whose layers it shows.
        table: What a terminal shows of it, if anything.
    """

    scale: str
    budget: str
    verdicts: Sequence[Verdict]
    blocks: Sequence[Block]
    runs: frozenset[str]
    shorter: bool = False
    variants: Sequence[Variant] = ()
    layers: Mapping[str, MeasuredRun] = field(default_factory=dict)
    table: Table | None = None

    def shown(self, runs: Set[str]) -> bool:
        """Whether a terminal shows it after some runs: all sections are shown after none."""
        return not runs or bool(runs & self.runs)


@dataclass(frozen=True)
class Environment:
    """The hardware and software of some of the runs.

    Attributes:
        key: Its short name.
        runs: The number of runs.
        facts: Names and values of what is known of it.
    """

    key: str
    runs: int
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """The content of an experiment's page.

    Attributes:
        info: The head of its config.
        sources: The files that it is made from, in words.
        sections: Its results, the largest scale first.
        lead: What comes before them, below the command and the cost.
        environments: The environments of its runs.
        seconds: Sum of the times that its runs took.
        missing: What was not run, a line each.
        notes: What columns of the tables mean, for a terminal.
    """

    info: ExperimentInfo
    sources: str
    sections: Sequence[Section]
    lead: Sequence[Block] = ()
    environments: Sequence[Environment] = ()
    seconds: float = 0.0
    missing: Sequence[str] = ()
    notes: str = ""

    def verdicts(self, claim: str) -> list[Verdict]:
        """The verdict on a claim at the largest scale with enough runs, or else at the largest: one, or none.

        A longer training of which too few runs are there so far does not push out what shorter ones have shown.
        """
        found = [verdict for section in self.sections for verdict in section.verdicts if verdict.claim == claim]
        return sorted(found, key=lambda verdict: verdict.outcome in SILENT)[:1]


def readme(page: Page) -> list[Block]:
    """The blocks of an experiment's README.md: longer trainings stand open, shorter and repeated ones are folded."""
    info = page.info
    results: list[Block] = []
    for section in page.sections:
        own = [*verdict_list(info, section), *section.blocks]
        if section.shorter:
            results.append(Folded(f"Results: {section.scale}", own))
        else:
            results += [Heading(2, f"Results: {section.scale}"), *own]
    blocks: list[Block] = [
        Heading(1, info.title),
        f"Made from {page.sources}; edits are overwritten.",
        Code(info.command),
        f"Cost: {info.cost}",
        *page.lead,
        *claims_table(info),
        *results,
    ]
    if info.deviations:
        blocks += [Heading(2, "Deviations from the paper"), Items(info.deviations, numbered=True)]
    if page.environments:
        environments = [f"`{one.key}` ({pluralize(one.runs, 'run')}): {in_one_line(one.facts)}" for one in page.environments]
        blocks += [Heading(2, "Environment"), Items(environments)]
    if page.missing:
        blocks += [Heading(2, "Not run"), Items(page.missing)]
    return blocks


def write_page(page: Page, folder: Path) -> None:
    """Writes an experiment's README.md and the files of its figures.

    Raises:
        OSError: If one of them cannot be written; it is then as it was.
    """
    for section in page.sections:
        for picture in pictures(section.blocks):
            save_figure(picture.draw, folder / picture.name)
    write_markdown(folder / "README.md", readme(page))


def shown(page: Page, runs: Set[str]) -> RenderableType:
    """Tables, curves and verdicts for a terminal: of the sections that have some of the runs, or of all where none is given."""
    parts: list[RenderableType] = []
    for section in page.sections:
        if section.shown(runs):
            parts += [terminal_table(section.table)] if section.table else []
            parts += [sparklines(best_recipes(section.variants)), Text()] if section.variants else []
            parts += [
                Text.assemble((f"{claim.id}: {verdict.outcome}. ", "bold"), against_paper(claim, verdict))
                for claim, verdict in zip(page.info.claims, section.verdicts, strict=True)
                if page.info.evidence
            ]
    return Group(*parts, *([Text(f"\n{page.notes}\n", style="dim")] if page.notes else []))


def against_paper(claim: ClaimInfo, verdict: Verdict) -> str:
    """The paper's value beside ours."""
    return f"The paper: {paper_value(claim)} ({claim.tag}). Ours: {verdict.evidence}"


def paper_value(claim: ClaimInfo) -> str:
    """The paper's value of a claim in words."""
    return "no number" if claim.paper == "-" else claim.paper


def verdict_list(info: ExperimentInfo, section: Section) -> list[Block]:
    """The verdicts of a section as a list."""
    lines = [
        f"**{claim.id}: {verdict.outcome}.** {against_paper(claim, verdict)}"
        for claim, verdict in zip(info.claims, section.verdicts, strict=True)
    ]
    return [Items(lines)] if lines else []


def claims_table(info: ExperimentInfo) -> list[Block]:
    """The claims of the paper that an experiment tests."""
    if not info.claims:
        return []
    head = ["claim", "what the paper says", "setting", "the paper's value", "known from"]
    rows = [[claim.id, claim.text, claim.setting, claim.paper, claim.tag] for claim in info.claims]
    tags = dict.fromkeys(claim.tag.split(" ")[0] for claim in info.claims)
    legend = "; ".join(f"*{tag}* is {TAGS[tag]}" for tag in tags)
    return [Heading(2, "Claims"), table("Claims that it tests", head, rows, left=len(head)), f"Known from: {legend}."]


def archive_page(info: ExperimentInfo, archive: Archive, sections: Sequence[Section], **more: Any) -> Page:
    """The page of an archive.

    Args:
        info: The head of the experiment's config.
        archive: The archive.
        sections: Its results.
        more: Other attributes of the `Page`.
    """
    tables = ", ".join(f"`{name}.csv`" for name, table in {"runs": archive.runs, **archive.tables}.items() if len(table))
    counts = archive.runs["environment"].value_counts().sort_index().items()
    return Page(
        info,
        sources=f"{tables} and `environments.json` in this folder and from the head of `configs/experiment/{info.name}.yaml`",
        sections=sections,
        environments=[
            Environment(str(key), int(count), environment_facts(archive.environments[str(key)])) for key, count in counts
        ],
        seconds=float(archive.runs["time_s"].sum()),
        **more,
    )


def environment_facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The content of an environment, as names and values in words."""
    facts = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            facts += environment_facts(value)
        elif value is not None:
            facts.append((key.replace("_", " "), str(value)))
    return facts


def in_one_line(facts: Iterable[tuple[str, str]]) -> str:
    """Facts of an environment as ``torch 2.9, cores 2, ...``."""
    return ", ".join(f"{name} {value}" for name, value in facts)


def this_machine() -> str:
    """The software and hardware of this process, in one line."""
    return in_one_line(environment_facts(describe(torch.device("cpu"))))
