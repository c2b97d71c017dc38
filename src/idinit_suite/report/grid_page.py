"""The page of a grid of runs, made from its archive and its config's head."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from ..archive.forecasts import Forecast, read_forecasts
from ..archive.recipe_grid import maps
from ..archive.runs import Archive
from ..archive.variants import BANDS, Scale, Variant, best_recipes, list_variants, scales
from ..config.experiment import ExperimentInfo
from ..statistics.significance import ENOUGH
from ..words import pluralize
from .blocks import Block, Heading, Picture
from .columns import notes
from .figures import draw_curves
from .formatting import duration
from .heat_maps import draw_maps
from .layers import layer_maps, measured_runs
from .outcomes import SILENT
from .page import Page, Section, archive_page
from .recipes import main_table, more_tables
from .tables import results_table, search_tables
from .verdicts import judge


def grid_page(info: ExperimentInfo, archive: Archive, results_dir: Path) -> Page:
    """The page of a grid of runs.

    Args:
        info: What the config says of the experiment.
        archive: Its runs.
        results_dir: ``results/<experiment>``, where its forecasts are.

    Raises:
        UsageError: If the experiment names a claim for which there is no verdict function.
    """
    found = sections(info, archive)
    return archive_page(
        info,
        archive,
        found,
        lead=_forecasts(read_forecasts(results_dir), archive.runs),
        missing=_missing(info, archive, found),
        notes=notes(found[0].variants if found else ()),
    )


def sections(info: ExperimentInfo, archive: Archive) -> list[Section]:
    """The results of a grid, the largest scale first. Its figures have plain names, for other pages to point to.

    Raises:
        UsageError: If the experiment names a claim for which there is no verdict function.
    """
    found: list[Section] = []
    every = scales(archive)
    for scale in every:
        variants = list_variants(archive, scale)
        suffix = f"-{scale.slug}" if found else ""
        tried = search_tables(archive, scale, variants)
        layers = measured_runs(archive, variants, suffix)
        single = best_recipes(variants) if maps(variants) else variants
        found.append(
            Section(
                scale=str(scale),
                budget=scale.budget,
                verdicts=[judge(claim.id, scale, variants) for claim in info.claims],
                blocks=[*_blocks(info, scale, variants, tried, suffix), *layer_maps(layers)],
                runs=frozenset(run for variant in variants for run in variant.runs["hash"]),
                shorter=(scale.budget, scale.epochs) != (every[0].budget, every[0].epochs),
                variants=variants,
                layers=layers,
                table=results_table(f"{info.name}: {scale}", single, bool(tried)),
            )
        )
    return found


def _blocks(
    info: ExperimentInfo, scale: Scale, variants: Sequence[Variant], tried: Sequence[Block], suffix: str
) -> list[Block]:
    title = f"{info.title}\n{scale}"
    curves = Picture(
        f"curves{suffix}",
        f"Lines are means over the runs that completed, bands their 95 % t-intervals, from {ENOUGH} runs on, or the lowest and "
        f"the highest run where an interval would reach beyond what is possible (more than {BANDS} lines have none); a cross "
        "is where a run diverged.",
        partial(draw_curves, title, variants),
        alt=f"Train loss and validation {variants[0].metric} of each variant over the epochs; the table has the final values",
        charted=True,
    )
    blocks: list[Block] = [curves, *main_table(variants, bool(tried)), notes(variants)]
    if found := maps(variants):
        caption = "Validation accuracy at each point of the grid; the tables below have test accuracies."
        alt = "Heat maps of the validation accuracy at each point of the grid, one a variant"
        blocks.append(Picture(f"map{suffix}", caption, partial(draw_maps, title, found), alt, charted=True))
    blocks += more_tables(variants, info.baseline, info.name)
    return [*blocks, *([Heading(3, "Learning rates tried"), *tried] if tried else [])]


def _forecasts(forecasts: Sequence[Forecast], runs: pd.DataFrame) -> list[str]:
    since = [forecast.runs_since(runs, forecasts[number:]) for number, forecast in enumerate(forecasts, start=1)]
    return [_forecast(forecast, count, seconds) for forecast, (count, seconds) in zip(forecasts, since, strict=True) if count]


def _forecast(forecast: Forecast, count: int, seconds: float) -> str:
    variants, epochs = pluralize(len(forecast.variants), "variant"), pluralize(forecast.epochs, "epoch")
    return (
        f"Forecast for {pluralize(forecast.runs, 'run')} of the {forecast.budget} budget ({variants}, {epochs}), one after the "
        f"other: {duration(forecast.seconds)}. The {pluralize(count, 'run')} since took {duration(seconds)}."
    )


def _missing(info: ExperimentInfo, archive: Archive, sections: Sequence[Section]) -> list[str]:
    lines = [] if any(section.budget == "paper" for section in sections) else ["The paper budget: no runs."]
    for section in sections:
        most = max(len(variant.runs) for variant in section.variants)
        fewer = [f"{variant.label} has {len(variant.runs)}" for variant in section.variants if len(variant.runs) < most]
        if fewer:
            lines.append(f"{section.scale}: incomplete, of {pluralize(most, 'run')} each: {', '.join(fewer)}.")
        lines += [f"{v.claim}: {v.evidence}" for v in section.verdicts if v.outcome in SILENT and not section.shorter]
    main = set(archive.runs.loc[archive.runs["phase"] == "main", "arm"])
    lines += [f"{variant}: only search runs so far." for variant in sorted(set(archive.runs["arm"]) - main)]
    if missing := [variant for variant in info.variants if variant not in set(archive.runs["arm"])]:
        lines.append(f"No runs at all: {', '.join(missing)}.")
    return lines
