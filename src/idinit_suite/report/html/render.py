"""Puts ``report.html`` together: tables as HTML, curves as data, the charting library, all inside one file."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import vl_convert

from ...archive.recipe_grid import maps
from ...archive.runs import Archive
from ...archive.variants import BANDS, varied
from ...config.experiment import ExperimentInfo
from ..columns import notes
from ..experiment_page import Section, against_paper, environment_facts
from ..figures import loss_limits
from ..heat_maps import words
from ..recipes import against
from ..reproduction import NO_SAY, TITLE, Judged, list_claims, outcome_of
from ..tables import PAIRED_NOTES
from ..verdicts import Verdict
from .charts import curves_chart, looks, map_chart
from .series import curves, map_of
from .tables import Cell, arm_boxes, arms_table, listed, markdown_table, select, table

_HERE = Path(__file__).parent
_LEAD = (
    "Curves and tables of all runs, made by <code>make report</code> from the archives in <code>results/</code>. "
    "This file needs no internet. Values of the paper carry a tag that says how they are known; "
    '<a href="REPRODUCTION.md">REPRODUCTION.md</a> explains them.'
)
_CURVE_NOTES = (
    f"A line is the mean over completed runs, its band the 95 % t-interval (more than {BANDS} lines have none); a cross is "
    "where a run diverged. Time is a run's mean share of its whole time, evaluations included."
)


@dataclass(frozen=True)
class Grid:
    """A grid of runs and its results.

    Attributes:
        info: The head of its config.
        archive: Its runs.
        sections: Its results, the largest scale first.
    """

    info: ExperimentInfo
    archive: Archive
    sections: Sequence[Section]


@dataclass(frozen=True)
class Study:
    """A study without training runs of its own: its verdicts and its pictures.

    Attributes:
        info: The head of its config.
        scale: What it was computed at.
        verdicts: One a claim.
        pictures: Caption and SVG file of each figure.
    """

    info: ExperimentInfo
    scale: str
    verdicts: Sequence[Verdict]
    pictures: Sequence[tuple[str, Path]]


def report_page(grids: Sequence[Grid], studies: Sequence[Study], judged: Sequence[Judged]) -> str:
    """The whole page; equal input gives equal text.

    Args:
        grids: The grids that have runs.
        studies: The studies that have results.
        judged: All that has a say in the verdicts.
    """
    parts, choices, scales = [], [], {}
    for grid in grids:
        for number, section in enumerate(grid.sections):
            key = grid.info.name + (f"-{number + 1}" if number else "")
            choices.append((key, f"{grid.info.name}: {section.scale}"))
            parts.append(_section(key, grid, section))
            scales[key] = _scale(section)
    for study in studies:
        choices.append((study.info.name, f"{study.info.name}: {study.scale}"))
        parts.append(_study(study))
    most = max((len({arm.name for arm in section.arms}) for grid in grids for section in grid.sections), default=0)
    data = {"scales": scales, "looks": looks(most), "chart": curves_chart(), "bands": BANDS}
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=TITLE,
        lead=_LEAD,
        style=(_HERE / "style.css").read_text(encoding="utf-8"),
        claims=_claims(judged, {grid.info.name for grid in grids} | {study.info.name for study in studies}),
        choices="".join(f'<option value="{escape(key)}">{escape(text)}</option>' for key, text in choices),
        experiments="\n".join(parts),
        data=json.dumps(data, separators=(",", ":")).replace("</", "<\\/"),  # nothing in it may end the element
        library=_library(),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
    )


def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub forgets the default
    return bundle.replace("</script", "<\\/script")


def _claims(judged: Sequence[Judged], here: Collection[str]) -> str:
    """The table of all claims; ``here`` names what has a section on this page, to which its link then leads."""
    rows = []
    for claim in list_claims():
        said = [(one, verdict) for one in judged for verdict in one.verdicts if verdict.claim == claim.id]
        ours = "".join(
            f'<p><a href="{_link(one.info.name, here)}">{escape(one.info.name)}</a>: <em>{v.outcome}</em>'
            f"{'' if one.info.evidence else NO_SAY}. "
            f"{escape(v.evidence)}</p>"
            for one, v in said
        )
        paper = "no number" if claim.paper == "-" else claim.paper
        rows.append(
            (
                "",
                [
                    Cell(claim.id, float(claim.id[1:])),
                    Cell(escape(claim.text), style="wide"),
                    Cell(f"{escape(paper)} <em>({escape(claim.tag)})</em>", style="middling"),
                    Cell(outcome_of(claim.id, judged), style="verdict"),
                    Cell(ours or "no runs yet", style="wide"),
                ],
            )
        )
    return table(
        ["claim", "what the paper says", "the paper's figure", "verdict", "ours"],
        rows,
        "sortable claims",
        "Claims of the paper",
    )


def _link(name: str, here: Collection[str]) -> str:
    return f"#{escape(name)}" if name in here else f"{escape(name)}/README.md"


def _section(key: str, grid: Grid, section: Section) -> str:
    info = grid.info
    own = [arm for arm in section.arms if arm.primary]
    several = len(section.arms) > len(own) or any(not arm.shared for arm in own)
    shared = next(arm for arm in section.arms if arm.shared)
    recipe = ", ".join(f"{name} {shared.recipe[name]}" for name in varied(section.arms) if name in shared.recipe)
    recipes = [("own", "each arm's best on validation"), ("shared", f"one for all: {recipe}"), ("all", "all")]
    controls = [
        select("metric", "Show", [(m, m) for m in sorted(("accuracy", "loss"), key=lambda m: m != section.metric)]),
        select("split", "of", [(s, s) for s in ("validation", "test", "train") if s != "test" or section.metric != "loss"]),
        select("x", "over", [("epoch", "epochs"), ("step", "steps"), ("time", "time")]),
        '<label><input type="checkbox" name="log"> logarithmic</label>',
        *([select("recipe", "Recipe", recipes)] if several else []),
    ]
    losses = section.metric == "loss"
    versus = against(own, info.baseline)
    grids = maps(section.arms)
    return "\n".join(
        [
            *_opening(key, info, str(section.scale)),
            _verdicts(info, section.verdicts),
            f'<div class="controls">{"".join(controls)}</div>',
            f'<fieldset class="arms"><legend>Initializers</legend>{arm_boxes(section.arms)}'
            '<button type="button" class="plain" value="all">all</button>'
            '<button type="button" class="plain" value="none">none</button></fieldset>',
            '<div class="chart curves"></div>',
            f'<p class="note">{_CURVE_NOTES}</p>',
            arms_table(section.arms, bool(section.tuning)),
            f'<p class="note">{escape(notes(section.arms))}</p>',
            *([f"<h3>Against {escape(info.baseline)}</h3>"] if versus else []),
            *(block for name, text in versus.items() for block in _against(name, text)),
            *([f'<p class="note">{escape(PAIRED_NOTES)}</p>'] if versus and not losses else []),
            *(["<h3>All recipes</h3>", '<div class="chart maps"></div>'] if grids else []),
            *_tuning(section.tuning),
            "<h3>Deviations from the paper</h3>",
            listed(info.deviations, "ol"),
            "<h3>Environment</h3>",
            *_environments(grid.archive, section),
            "</section>",
        ]
    )


def _opening(key: str, info: ExperimentInfo, scale: str) -> list[str]:
    name = escape(info.name)
    return [
        f'<section class="experiment" id="{escape(key)}" aria-label="{name}">',
        f"<h3>{escape(info.title)}</h3>",
        f"<p>{escape(scale)}. Run it with <code>{escape(info.command)}</code>; "
        f'<a href="../configs/experiment/{name}.yaml">its config</a>, <a href="{name}/README.md">its page</a>, '
        f'<a href="{name}/runs.csv">its runs</a>.</p>',
    ]


def _verdicts(info: ExperimentInfo, verdicts: Sequence[Verdict]) -> str:
    items = [
        f"<li><strong>{claim.id}: {verdict.outcome}.</strong> {escape(against_paper(claim, verdict))}</li>"
        for claim, verdict in zip(info.claims, verdicts, strict=True)
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _scale(section: Section) -> dict[str, Any]:
    found = maps(section.arms)
    first = next(iter(found.values()), None)
    chart = None if first is None else {"chart": map_chart(*map(words, first.keys)), "rows": map_of(found.values())}
    return {"arms": curves(section.arms), "loss": loss_limits(section.arms), "map": chart}


def _against(baseline: str, text: str) -> list[str]:
    """A table, and a sentence where there is one, as `idinit_suite.report.recipes.against` makes them."""
    rows, *sentences = text.split("\n\n")
    return [markdown_table(rows, f"Against {baseline}"), *(f"<p>{escape(words)}</p>" for words in sentences)]


def _tuning(text: str) -> list[str]:
    """Pairs of a sentence and a table, as `idinit_suite.report.tables.tuning` makes them."""
    blocks = text.split("\n\n") if text else []
    shown = [
        f"<p>{escape(words)}</p>{markdown_table(rows, 'Learning rates tried')}"
        for words, rows in zip(blocks[::2], blocks[1::2], strict=True)
    ]
    return ["<h3>Learning rates tried</h3>", *shown] if shown else []


def _environments(archive: Archive, section: Section) -> list[str]:
    used = sorted({str(key) for arm in section.arms for key in arm.runs["environment"]})
    lists = []
    for key in used:
        facts = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in environment_facts(archive.environments[key])
        )
        lists.append(f"<details><summary>{escape(key)}</summary><dl>{facts}</dl></details>")
    return lists


def _packed(file: Path) -> str:
    """A picture for the page's script to unpack: SVG in gzip in Base64 takes a ninth of SVG in Base64."""
    return base64.b64encode(gzip.compress(file.read_bytes(), mtime=0)).decode()


def _study(study: Study) -> str:
    figures = [
        f'<figure><img alt="{escape(caption)}" data-packed="{_packed(file)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, file in study.pictures
    ]
    return "\n".join(
        [
            *_opening(study.info.name, study.info, study.scale),
            _verdicts(study.info, study.verdicts),
            *figures,
            "<h3>Deviations from the paper</h3>",
            listed(study.info.deviations, "ol"),
            "</section>",
        ]
    )
