"""A study's page, made from its archive and its config's head."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idinit.errors import UsageError

from ..archive.studies import StudyArchive
from ..config.experiment import ExperimentInfo
from ..report.experiment_page import against_paper, claims_table, deviations, environments
from ..report.verdicts import Verdict
from ..statistics.significance import ENOUGH
from .config import checked
from .findings import FINDINGS, Finding, Findings


@dataclass(frozen=True)
class StudySection:
    """What one run of a study shows.

    Attributes:
        hash: The run.
        scale: Its budget, and the options in which it differs from an earlier section of that budget.
        findings: Its text and figures.
        verdicts: One for each claim of the experiment.
        suffix: What is added to the names of its figures' files; empty for the first section.
    """

    hash: str
    scale: str
    findings: Findings
    verdicts: Sequence[Verdict]
    suffix: str


def sections(info: ExperimentInfo, archive: StudyArchive) -> list[StudySection]:
    """The runs of a study, the largest budget first."""
    found: list[StudySection] = []
    shown: dict[str, dict[str, object]] = {}
    for run in archive.runs.itertuples():
        options = _options(str(run.options))
        first = shown.setdefault(str(run.budget), options)
        changes = [f"{key}={value}" for key, value in options.items() if first.get(key) != value]
        scale = ", ".join([f"{run.budget} budget", *changes])
        findings = FINDINGS[str(run.study)].build(archive.of(str(run.hash)))
        verdicts = [_verdict(finding, str(run.budget), scale, options) for finding in findings.claims]
        suffix = f"-{run.hash}" if found else ""
        found.append(StudySection(str(run.hash), scale, findings, verdicts, suffix))
    return found


def _verdict(finding: Finding, budget: str, scale: str, options: Mapping[str, object]) -> Verdict:
    """The verdict on a finding; a study that has seeds needs as many of them as a grid of runs."""
    if budget == "smoke":
        return Verdict(finding.claim, "not run at this scale", f"{scale}: this budget only shows that everything runs.")
    seeds = options.get("seeds")
    few = isinstance(seeds, Sequence) and len(seeds) < ENOUGH
    return Verdict(finding.claim, "not enough runs" if few else finding.outcome, f"{scale}: {finding.evidence}.")


def _options(text: str) -> dict[str, object]:
    """All options of an archived run; just what is stored where the study no longer has one of them."""
    stored = json.loads(text)
    try:
        return checked(stored)
    except UsageError:
        return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}


def page(info: ExperimentInfo, archive: StudyArchive, sections: Sequence[StudySection]) -> str:
    """The page as Markdown."""
    parts = [
        f"# {info.title}",
        f"Made from the CSV files and `environments.json` in this folder and from the head of "
        f"`configs/experiment/{info.name}.yaml`; edits are overwritten.",
        f"```\n{info.command}\n```",
        f"Cost: {info.cost}",
        *claims_table(info),
        *(part for section in sections for part in _results(info, section)),
        *deviations(info),
        *environments(archive.runs["environment"], archive.environments),
    ]
    return "\n\n".join(parts) + "\n"


def _results(info: ExperimentInfo, section: StudySection) -> list[str]:
    verdicts = [
        f"- **{claim.id}: {verdict.outcome}.** {against_paper(claim, verdict)}"
        for claim, verdict in zip(info.claims, section.verdicts, strict=True)
    ]
    pictures = [
        f"![{picture.caption}]({picture.name}{section.suffix}.png)\n\n{picture.caption} "
        f"[As SVG]({picture.name}{section.suffix}.svg)"
        for picture in section.findings.pictures
    ]
    return [f"## Results: {section.scale}", "\n".join(verdicts), *section.findings.text, *pictures]
