"""The page of the coverage, made from coverage.csv."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..report.blocks import Block, Folded, Heading, Items
from ..report.page import Page, Section, write_page
from ..report.table import table
from .check import LIMIT, LIMIT_BEFORE_NORM
from .families import REASONS, TRUE_FINDINGS
from .runner import Row, read_rows
from .verdict import GOALS, INFO, LIBRARIES, count, judge_coverage

_INTRO: tuple[Block, ...] = (
    '`initialize_(model, "idinit", inputs)` on one small network of every architecture family of timm and torchvision and of '
    "many model types of transformers, built without pretrained weights. The check knows nothing of these networks but their "
    "inputs. Each is checked in a process of its own; a network is **ok** where all of this holds:",
    Items(
        [
            "Every parameter is in the report, with its part or with the reason why it has none.",
            "Every residual branch that was found is silent: the root mean square of its output is below "
            f"{LIMIT:g} of that of its input, and below {LIMIT_BEFORE_NORM:g} where a normalization follows its last weight "
            "and scales the output up again. Batch normalization uses the batch's statistics for this, as in training.",
            "The output and all gradients are finite, in training mode, with a loss that weighs the outputs at random.",
            "Every parameter that can receive a gradient does, at once or, **late**, after the others have moved. Which can "
            "shows where normal noise is added to all of them.",
        ]
    ),
    "A branch that was not found is not measured: the number of branches is there for comparison with the network's "
    "publication.",
    "A copy of each, as its library builds it, is examined by `idinit.examine`. What it finds wrong is taken to be a **false "
    "alarm**, unless the reason is known.",
    "The parts of weights of two dimensions or more are compared with those that an expert reads in the code, where these have "
    "been written down by hand (`idinit_suite/coverage/expert_labels.py`).",
)


def coverage_page(rows: Sequence[Row]) -> Page | None:
    """The page of the coverage; None where nothing was checked.

    Args:
        rows: The rows of coverage.csv.
    """
    verdict = judge_coverage(rows)
    if verdict is None:
        return None
    sources = [(source, [row for row in rows if row["source"] == source]) for source in LIBRARIES]
    sources = [(source, found) for source, found in sources if found]
    summary = table(
        "Families that can be initialized, by library",
        ["library", "families", "ok", "share", "goal", "ok, and no gradient late", "false alarms", "labels as an expert's"],
        [_summary(source, found) for source, found in sources],
    )
    blocks = [
        summary,
        *_failures(rows),
        *_alarms(rows),
        *_mislabelled(rows),
        *_unknown(rows),
        *(block for source, found in sources for block in _networks(source, found)),
    ]
    section = Section("cpu budget, one small network a family", "cpu", [verdict], blocks, frozenset())
    return Page(INFO, sources="`coverage.csv` in this folder", sections=[section], lead=_INTRO)


def update_coverage_page(folder: Path) -> Page | None:
    """Writes the page of ``folder/coverage.csv`` and returns it; None where nothing was checked."""
    page = coverage_page(list(read_rows(folder / "coverage.csv").values()))
    if page is not None:
        write_page(page, folder)
    return page


def _summary(source: str, rows: Sequence[Row]) -> list[str]:
    fine, _ = count(rows, source)
    at_once = sum(row["status"] == "ok" and row["late"] == "0" for row in rows)
    share, goal = f"{100 * fine / len(rows):.1f} %", f"{GOALS[source]} %"
    return [LIBRARIES[source], str(len(rows)), str(fine), share, goal, str(at_once), _false_alarms(rows), _as_expert(rows)]


def _false_alarms(rows: Sequence[Row]) -> str:
    """How many networks `idinit.examine` found something wrong with, of those that it examined."""
    examined = [row for row in rows if row["alarms"]]
    return f"{sum(row['alarms'] != '0' for row in examined)} of {len(examined)}" if examined else "not examined"


def _as_expert(rows: Sequence[Row]) -> str:
    """In how many networks every label is the expert's, of those that an expert has labelled."""
    labelled = [row for row in rows if row["labels"]]
    return f"{sum(row['labels_wrong'] == '0' for row in labelled)} of {len(labelled)}" if labelled else "not compared"


def _failures(rows: Sequence[Row]) -> list[Block]:
    failed = [(_name(row), row) for row in rows if row["status"] != "ok"]
    cells = [[name, row["model"], row["problems"], REASONS.get(name, "not known")] for name, row in failed]
    return _listed("Failures", ["family", "network", "what is not as it should be", "why"], cells)


def _alarms(rows: Sequence[Row]) -> list[Block]:
    cells = [[_name(row), row["model"], row["findings"]] for row in rows if row["findings"]]
    known = [f"{kind}: {why}." for kind, why in TRUE_FINDINGS.items() if any(kind in row[2] for row in cells)]
    lead: list[Block] = ["No false alarms:", Items(known)] if known else []
    head = ["family", "network", "what `examine` reports for the network as built"]
    return _listed("Findings of `idinit.examine`", head, cells, *lead)


def _mislabelled(rows: Sequence[Row]) -> list[Block]:
    cells = [[_name(row), row["model"], row["mislabelled"]] for row in rows if row["mislabelled"]]
    return _listed("Other labels than an expert's", ["family", "network", "weights"], cells)


def _unknown(rows: Sequence[Row]) -> list[Block]:
    """Parameters without a part, by reason."""
    cells = [[_name(row), row["unknown"]] for row in rows if row["unknown"]]
    lead = "These parameters keep their values, and the report says why."
    return _listed("Parameters without a part", ["family", "parameters and reason"], cells, lead)


def _listed(title: str, head: Sequence[str], cells: Sequence[Sequence[str]], *lead: Block) -> list[Block]:
    """A table of texts below a heading and what leads to it; nothing where there are no rows."""
    return [Heading(3, title), *lead, table(title, head, cells, left=len(head))] if cells else []


def _name(row: Row) -> str:
    return f"{row['source']}:{row['family']}"


def _networks(source: str, rows: Sequence[Row]) -> list[Block]:
    head = ["family", "network", "weights", "parameters", "with a part", "branches", "largest", "largest before a norm"]
    head += ["late gradients", "labels as an expert's", "seconds", "MB"]
    cells = [
        [
            *(row["family"], row["model"], _millions(row["weights"]), row["parameters"], row["parts"], row["branches"]),
            *(row["largest"] if row["branches"] != "0" else "", row["largest_before_norm"] if row["branches"] != "0" else ""),
            *(row["late"], _labels(row), row["seconds"], row["memory_mb"]),
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
    networks = table(f"Networks of {LIBRARIES[source]}", head, cells, left=2)
    return [Heading(3, LIBRARIES[source]), cost, Folded("Every network", [networks])]


def _labels(row: Row) -> str:
    return f"{int(row['labels']) - int(row['labels_wrong'])} of {row['labels']}" if row["labels"] else ""


def _numbers(rows: Iterable[Row], column: str) -> list[float]:
    return [float(row[column]) for row in rows if row[column]]


def _millions(count: str) -> str:
    return f"{int(count) / 1e6:.1f} M" if count else ""
