"""What studies show: from the archived rows of a study to its figures, tables and verdicts.

One file a study, beside its ``measure.py``: a function of the study's tables, registered in `FINDINGS` under the
study's name. Nothing is computed here that training would change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

import pandas as pd
from matplotlib.figure import Figure

from idinit.registry import Registry

from ..report.outcomes import Outcome


@dataclass(frozen=True)
class Picture:
    """A figure of a study's page.

    Attributes:
        name: Of its files, without ending.
        caption: What it shows and how to read it, in a sentence or two.
        draw: Makes it.
    """

    name: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Finding:
    """What the rows say of one claim: an outcome, and one sentence with the numbers."""

    claim: str
    outcome: Outcome
    evidence: str


@dataclass(frozen=True)
class Findings:
    """What the rows of one run of a study show.

    Attributes:
        claims: A finding for each claim that the study tests.
        text: What was found, in plain words and tables: blocks of Markdown.
        pictures: Its figures.
    """

    claims: tuple[Finding, ...]
    text: tuple[str, ...]
    pictures: tuple[Picture, ...]


FINDINGS: Registry[Callable[[Mapping[str, pd.DataFrame]], Findings], None] = Registry("study")

for _study in ("branch", "convergence", "dead", "depth", "isometry", "rank"):
    import_module(f".{_study}.findings", __package__)
