"""``results/coverage/README.md``, made from coverage.csv."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

from ..atomic import write_atomically
from ..report.experiment_page import against_paper, claims_table, deviations
from ..report.tables import grid
from .check import LIMIT, LIMIT_BEFORE_NORM
from .families import REASONS, TRUE_FINDINGS
from .runner import Row, read_rows
from .verdict import GOALS, INFO, LIBRARIES, count, judge

_INTRO = f"""# {INFO.title}

Made from `coverage.csv` in this folder; edits are overwritten.

```
{INFO.command}
```

`initialize_(model, "idinit", inputs)` on one small network of every architecture family of timm and torchvision and of many
model types of transformers, built without pretrained weights. The check knows nothing of these networks but their inputs.
Each is checked in a process of its own; a network is **ok** where all of this holds:

- Every parameter is in the report, with its part or with the reason why it has none.
- Every residual branch that was found is silent: the root mean square of its output is below {LIMIT:g} of that of its input,
  and below {LIMIT_BEFORE_NORM:g} where a normalization follows its last weight and scales the output up again. Batch
  normalization uses the batch's statistics for this, as in training.
- The output and all gradients are finite, in training mode, with a loss that weighs the outputs at random.
- Every parameter that can receive a gradient does, at once or, **late**, after the others have moved. Which can shows where
  normal noise is added to all of them.

A branch that was not found is not measured: the number of branches is there for comparison with the network's publication.

A copy of each, as its library builds it, is examined by `idinit.examine`. What it finds wrong is taken to be a **false
alarm**, unless the reason is known.
"""


def update_page(folder: Path) -> None:
    """Writes the page of ``folder/coverage.csv``."""
    rows = list(read_rows(folder / "coverage.csv").values())
    sources = [(source, [row for row in rows if row["source"] == source]) for source in LIBRARIES]
    sources = [(source, found) for source, found in sources if found]
    parts = [
        _INTRO,
        grid(
            ["library", "families", "ok", "share", "goal", "ok, and no gradient late", "false alarms"],
            [_summary(source, found) for source, found in sources],
        ),
        *_verdict(rows),
        *_failures(rows),
        *_alarms(rows),
        *_unknown(rows),
        *(part for source, found in sources for part in _networks(source, found)),
        *deviations(INFO),
    ]
    write_atomically(folder / "README.md", ("\n\n".join(parts) + "\n").encode())


def _summary(source: str, rows: list[Row]) -> list[str]:
    fine, _ = count(rows, source)
    at_once = sum(row["status"] == "ok" and row["late"] == "0" for row in rows)
    share, goal = f"{100 * fine / len(rows):.1f} %", f"{GOALS[source]} %"
    return [LIBRARIES[source], str(len(rows)), str(fine), share, goal, str(at_once), _false_alarms(rows)]


def _false_alarms(rows: list[Row]) -> str:
    """How many networks the doctor found something wrong with, of those that it examined."""
    examined = [row for row in rows if row["alarms"]]
    return f"{sum(row['alarms'] != '0' for row in examined)} of {len(examined)}" if examined else "not examined"


def _verdict(rows: list[Row]) -> list[str]:
    judged = judge(rows)
    if judged is None:
        return []
    (claim,), (verdict,) = INFO.claims, judged.verdicts
    return [*claims_table(INFO), f"**{claim.id}: {verdict.outcome}.** {against_paper(claim, verdict)}"]


def _failures(rows: list[Row]) -> list[str]:
    failed = [row for row in rows if row["status"] != "ok"]
    if not failed:
        return []
    named = [(f"{row['source']}:{row['family']}", row) for row in failed]
    table = [[name, row["model"], _cell(row["problems"]), REASONS.get(name, "not known")] for name, row in named]
    return ["## Failures", grid(["family", "network", "what is not as it should be", "why"], table, left=4)]


def _alarms(rows: list[Row]) -> list[str]:
    table = [[f"{row['source']}:{row['family']}", row["model"], _cell(row["findings"])] for row in rows if row["findings"]]
    if not table:
        return []
    known = [f"- {kind}: {why}." for kind, why in TRUE_FINDINGS.items() if any(kind in row[2] for row in table)]
    lines = grid(["family", "network", "what the doctor says of it as it is built"], table, left=3)
    return ["## Findings of the doctor", *(["No false alarms:\n\n" + "\n".join(known)] if known else []), lines]


def _unknown(rows: list[Row]) -> list[str]:
    """Parameters without a part, by reason."""
    table = [[f"{row['source']}:{row['family']}", _cell(row["unknown"])] for row in rows if row["unknown"]]
    if not table:
        return []
    lead = "These parameters keep their values, and the report says why."
    return ["## Parameters without a part", lead, grid(["family", "parameters and reason"], table, left=2)]


def _networks(source: str, rows: list[Row]) -> list[str]:
    head = ["family", "network", "weights", "parameters", "with a part", "branches", "largest", "largest before a norm"]
    head += ["late gradients", "seconds", "MB"]
    table = [
        [
            *(row["family"], row["model"], _millions(row["weights"]), row["parameters"], row["parts"], row["branches"]),
            *(row["largest"] if row["branches"] != "0" else "", row["largest_before_norm"] if row["branches"] != "0" else ""),
            *(row["late"], row["seconds"], row["memory_mb"]),
        ]
        for row in rows
    ]
    seconds, memory = _numbers(rows, "seconds"), _numbers(rows, "memory_mb")
    cost = (
        f"{rows[0]['library']}. Time is that of `initialize_`, median {statistics.median(seconds):.1f} s and at most "
        f"{max(seconds):.1f} s on one core; memory is the peak above that before the network was initialized, at most "
        f"{max(memory):.0f} MB."
        if seconds
        else rows[0]["library"]
    )
    details = f"<details><summary>Every network</summary>\n\n{grid(head, table, left=2)}\n\n</details>"
    return [f"## {LIBRARIES[source]}", cost, details]


def _numbers(rows: Iterable[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column]]


def _millions(count: str) -> str:
    return f"{int(count) / 1e6:.1f} M" if count else ""


def _cell(text: str) -> str:
    """Text that stays in one cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
