"""Findings of studies: from the archived rows of a study to its figures, tables and verdicts.

One file a study, beside its ``measure.py``: a function of the study's tables, registered in `FINDINGS` under the
study's name. Nothing is computed here that training would change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import pandas as pd

from idinit.registry import Registry

from ..report.blocks import Block, Picture
from ..report.outcomes import Finding


@dataclass(frozen=True)
class Findings:
    """Verdicts, text and figures from the rows of one run of a study.

    Attributes:
        claims: Id -> the finding, for each claim that the study tests.
        text: The results in words and tables.
        pictures: Its figures.
    """

    claims: Mapping[str, Finding]
    text: Sequence[Block]
    pictures: Sequence[Picture]


FINDINGS: Registry[Callable[[Mapping[str, pd.DataFrame]], Findings], None] = Registry("study")

for _study in ("branch", "convergence", "dead", "depth", "isometry", "rank"):
    import_module(f".{_study}.findings", __package__)
