"""The page of a study, made from its archive and its config's head."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from idinit.errors import UsageError

from ..archive.store import Archive
from ..config.experiment import ExperimentInfo
from ..report.outcomes import SMOKE, Finding, Verdict
from ..report.page import Page, Section, archive_page
from ..report.update import Kind
from ..statistics.significance import ENOUGH
from .archive import STORE, tables_of
from .config import checked_study
from .findings import FINDINGS


def study_page(info: ExperimentInfo, archive: Archive, results_dir: Path) -> Page:
    """The page of a study."""
    return archive_page(info, archive, sections(archive))


def sections(archive: Archive) -> list[Section]:
    """The runs of a study, the largest budget first, each with the options in which it differs from an earlier one."""
    found: list[Section] = []
    shown: dict[str, dict[str, object]] = {}
    for run in archive.runs.itertuples():
        options, budget = _options(str(run.options)), str(run.budget)
        first = shown.setdefault(budget, options)
        changes = [f"{key} {_words(value)}" for key, value in options.items() if first.get(key) != value]
        scale = "; ".join([f"{budget} budget", *changes])
        findings = FINDINGS[str(run.study)].build(tables_of(archive, str(run.hash)))
        suffix = f"-{run.hash}" if found else ""
        pictures = [replace(picture, name=f"{picture.name}{suffix}") for picture in findings.pictures]
        found.append(
            Section(
                scale=scale,
                budget=budget,
                verdicts=[_verdict(claim, finding, budget, scale, options) for claim, finding in findings.claims.items()],
                blocks=[*pictures, *findings.text],
                runs=frozenset([str(run.hash)]),
                shorter=bool(found) and (budget != found[0].budget or _is_part(options, of=first)),
            )
        )
    return found


def _verdict(claim: str, finding: Finding, budget: str, scale: str, options: Mapping[str, object]) -> Verdict:
    """The verdict on a finding; a study that has seeds needs as many of them as a grid of runs."""
    if budget == "smoke":
        return Verdict(claim, SMOKE.outcome, f"{scale}: {SMOKE.evidence}.")
    seeds = options.get("seeds")
    count = len(seeds) if isinstance(seeds, Sequence) else None
    few = count is not None and count < ENOUGH
    headline = replace(finding.headline, n=finding.headline.n or count) if finding.headline else None
    return Verdict(claim, "not enough runs" if few else finding.outcome, f"{scale}: {finding.evidence}.", headline)


def _is_part(options: Mapping[str, object], of: Mapping[str, object]) -> bool:
    """Whether a run repeats a part of another one, such as two of its three seeds."""
    return options != of and all(_values(value) <= _values(of.get(key)) for key, value in options.items())


def _values(value: object) -> set[object]:
    return set(value) if isinstance(value, tuple) else {value}


def _words(value: object, separator: str = ", ") -> str:
    """An option in words; of a tuple of tuples each is set apart by a comma: ``digits 256 3, cifar10 1536 3``."""
    return separator.join(_words(item, " ") for item in value) if isinstance(value, tuple) else str(value)


def _options(text: str) -> dict[str, object]:
    """All options of an archived run; just what is stored where the study no longer has one of them."""
    stored = json.loads(text)
    try:
        return checked_study(stored)
    except UsageError:
        return {key: _tuples(value) for key, value in stored.items()}


def _tuples(value: object) -> object:
    """A value from JSON with tuples in the place of lists, as options are."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


STUDY = Kind(STORE, study_page)
