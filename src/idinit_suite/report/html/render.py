"""Puts ``report.html`` together from templates: cards, tables as HTML, curves as data, the charting library, in one file."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from ...archive.recipe_grid import maps
from ...archive.variants import BANDS
from ...config.experiment import list_experiments
from ..figures import loss_limits
from ..heat_maps import words
from ..outcomes import OUTCOMES
from ..page import Page, Section, against_paper, paper_value
from ..reproduction import TITLE, described_counts, in_plain_words
from ..style import ICONS
from ..summary import count_outcomes, summarize
from .card_plots import interval_plot, lines_plot
from .charts import curves_chart, layers_chart, looks, map_chart
from .series import curves, layers_of, recipe_map

_PLACES, _LONG = re.compile(rb' (?:d|x|y)="[^"]*"'), re.compile(rb"\d+\.\d{2,}")
_INLINE = MarkdownIt("commonmark", {"html": False})
_HELD = re.compile(r"(?<=\d) (?=[%±])|(?<=±) (?=\d)")  # a number keeps its unit and its interval on its line


def report_page(pages: Sequence[Page], results: Path) -> str:
    """The whole page; equal input gives equal text.

    Args:
        pages: The experiments that have results, in the order of the page.
        results: The folder in which their figures are.
    """
    keys = {id(section): _key(page, index) for page in pages for index, section in enumerate(page.sections)}
    charted = {keys[id(section)]: (page, section) for page in pages for section in page.sections if section.variants}
    summaries = summarize(pages)
    sections = {key: _data(page, section) for key, (page, section) in charted.items()}
    names = Counter(name for section in sections.values() for name in {variant["name"] for variant in section["variants"]})
    order = sorted(names, key=lambda name: (name != "idinit", -names[name], name))
    data = {
        "sections": sections,
        "looks": dict(zip(order, looks(len(order)), strict=True)),
        "spare": looks(21),
        "chart": curves_chart(),
        "layers": layers_chart(),
        "bands": BANDS,
    }
    return (
        _templates(results)
        .get_template("page.html.j2")
        .render(
            title=TITLE,
            count=len(summaries),
            counts=count_outcomes(summaries),
            counted=described_counts(summaries),
            plain_words=in_plain_words(summaries, pages),
            summaries=summaries,
            outcomes=OUTCOMES,
            icons=ICONS,
            pages=pages,
            configs=list_experiments(),
            keys=keys,
            charted=charted,
            lead=_headline(charted),
            against_paper=against_paper,
            paper_value=paper_value,
            interval_plot=interval_plot,
            lines_plot=lines_plot,
            id=id,
            data=_packed(json.dumps(data, separators=(",", ":")).encode()),
            library=_packed(_library().encode()),
            style=Markup((Path(__file__).parent / "style.css").read_text(encoding="utf-8")),
            script=Markup((Path(__file__).parent / "page.js").read_text(encoding="utf-8")),
        )
    )


def _templates(results: Path) -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_unbroken,
    )
    environment.filters |= {
        "inline": lambda text: Markup(_INLINE.renderInline(text)),
        "slug": lambda text: "".join(letter if letter.isalnum() else "-" for letter in text),
        "packed_picture": lambda picture, page: _packed(
            _rounded((results / page.info.name / f"{picture.name}.svg").read_bytes())
        ),
        "kind": lambda block: type(block).__name__.lower(),
        "number": lambda key: "" if math.isnan(key) else f"{key:.6g}",
    }
    return environment


def _unbroken(value: Any) -> Any:
    """Text with no-break spaces where a line must not end; anything else as it is."""
    return type(value)(_HELD.sub("\N{NO-BREAK SPACE}", value)) if isinstance(value, str) else value


def _key(page: Page, index: int) -> str:
    return page.info.name + (f"-{index + 1}" if index else "")


def _headline(charted: dict[str, tuple[Page, Section]]) -> str:
    """The section that leads: of those that share a claim with the first on which there is evidence, the longest trained."""
    evidence = {key: one for key, one in charted.items() if one[0].info.evidence and one[0].info.claims and not one[1].shorter}
    if not evidence:
        return next(iter(charted), "")
    claims = {claim.id for claim in next(iter(evidence.values()))[0].info.claims}
    testing = {key: one[1] for key, one in evidence.items() if claims & {claim.id for claim in one[0].info.claims}}
    return max(testing, key=lambda key: sum(one.last * len(one.runs) for one in testing[key].variants))  # epochs in all


def _data(page: Page, section: Section) -> dict[str, Any]:
    found = maps(section.variants)
    grid = next(iter(found.values()), None)
    chart = None if grid is None else {"chart": map_chart(*map(words, grid.keys)), "rows": recipe_map(found.values())}
    return {
        "name": page.info.name,
        "scale": section.scale,
        "metric": section.variants[0].metric,
        "variants": curves(section.variants),
        "loss": loss_limits(section.variants),
        "map": chart,
        "layers": {name: layers_of(run) for name, run in section.layers.items()},
    }


def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one module."""
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # its stub forgets the default
    return bundle


def _rounded(svg: bytes) -> bytes:
    """A picture whose paths and marks lie exact to a tenth of a point, where Matplotlib writes a millionth."""
    return _PLACES.sub(lambda place: _LONG.sub(lambda number: b"%.1f" % float(number[0]), place[0]), svg)


def _packed(content: bytes) -> str:
    """Content for the page's script to unpack: gzip in Base64."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
