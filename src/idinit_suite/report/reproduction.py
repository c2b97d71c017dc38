"""``results/REPRODUCTION.md``: the reproducibility report, with one line a claim; details are in the experiments' pages."""

from __future__ import annotations

from collections.abc import Sequence

from ..archive.variants import Variant, best_recipes
from ..config.experiment import TAGS
from ..statistics.paired import compare
from ..statistics.significance import ENOUGH
from ..words import pluralize
from .blocks import Block, Heading, Items
from .formatting import difference_interval, duration, percent
from .outcomes import OUTCOMES, SILENT, Outcome
from .page import Page, paper_value
from .style import ICONS
from .summary import Summary, count_outcomes, summarize
from .table import Cell, Table, table

TITLE = "Reproduction of IDInit"
READINGS = "ablation-layout"  # the experiment in which each variant is a reading of what the paper leaves open
_GROUPS: dict[Outcome, str] = {
    "reproduced": "Holds",
    "partly": "Holds in part",
    "holds, not distinctive": "Holds, but so it does for most other methods",
    "applies, benefit not measured": "Can be applied; the benefit was not measured",
    "undecided": "Undecided: the numbers are consistent with the claim, but chance could have made them",
    "not reproduced": "Not reproduced",
    "not enough runs": f"Open, with fewer than {ENOUGH} seeds",
    "not run at this scale": "Not run, or too short to tell",
}
_EASY = (
    "The method itself is short: every weight is filled by one of a few rules, without data and without training.",
    "The theoretical claims (C10 to C14) need small networks only, and one command each.",
    "Some differences in speed show within a few epochs.",
)
_HARD = (
    "We know of no code by the authors, and the paper could be read only in part: we had to choose the layout of "
    "convolutions, tau, the rules of the first and the last weight, and all training recipes, and measured the choices.",
    "Without BatchNorm the best learning rates of the methods differ widely: each needs its own search, at equal cost.",
    "Final accuracies, ImageNet and BERT-Base need GPUs; the cpu budget tests convergence on smaller networks instead.",
)


def reproduction(pages: Sequence[Page]) -> list[Block]:
    """The blocks of the report.

    Args:
        pages: The experiments that have results.
    """
    summaries = summarize(pages)
    legend = "; ".join(f"*{tag}* is {meaning}" for tag, meaning in TAGS.items())
    runs = sum(environment.runs for page in pages for environment in page.environments)
    return [
        Heading(1, TITLE),
        f"Of {len(summaries)} claims: {described_counts(summaries)}. Made by `make report` from the archives in this folder; "
        "manual edits are overwritten. Curves and tables of everything: [report.html](report.html).",
        _verdicts(summaries),
        Heading(2, "In plain words"),
        Items(in_plain_words(summaries, pages)),
        Heading(2, "Scope"),
        "The claims are those of the paper IDInit, numbered by us. The paper's values carry a tag that says how they are "
        f"known: {legend}.",
        Heading(2, "Method"),
        f"{pluralize(len(pages), 'experiment')}, {pluralize(runs, 'run')}, {duration(sum(page.seconds for page in pages))} of "
        "computing in total. Methods of an experiment share data, recipe and seeds, and the network but for the norms that its "
        "page names; where learning rates are searched, the search is the same for each, on a validation split. Runs of one "
        "seed see the same batches, so that methods are compared pair by pair.",
        "Every rule that compares was simulated, those of training runs (C1 to C9) and those of studies (C1 against depth, C10 "
        "to C12, C14), with methods that are all equal, for C3 with methods that differ by its margin: *reproduced* or "
        "*partly* then comes out in at most 5 % of experiments. C13 and C15 ask of each network whether IDInit does what the "
        "claim says. If only one of several experiments finds part of a claim, that alone decides nothing. Experiments with "
        "too few runs and demonstrations have no say.",
        Items([f"*{outcome}*: {meaning}." for outcome, meaning in OUTCOMES.items()]),
        Heading(2, "Results"),
        "By claim, with every experiment that tests it; the evidence is in the experiment's page.",
        Items([_result(summary) for summary in summaries]),
        Heading(2, "What was easy"),
        Items(_EASY),
        Heading(2, "What was hard"),
        Items(_HARD),
        Heading(2, "What differs from the paper"),
        "Each page lists the ways in which its experiment departs from the paper, or settles what the paper leaves open:",
        Items(
            [
                f"[{page.info.title}]({page.info.name}/#deviations-from-the-paper): {len(page.info.deviations)}"
                for page in pages
                if page.info.deviations
            ]
        ),
    ]


def described_counts(summaries: Sequence[Summary]) -> str:
    """The number of claims with each outcome, in words."""
    return "; ".join(f"{count} {outcome}" for outcome, count in count_outcomes(summaries).items())


def _verdicts(summaries: Sequence[Summary]) -> Table:
    head = ["", "claim", "verdict", "ours", "the paper's", "seeds", "details"]
    rows: list[list[Cell | str]] = []
    for summary in summaries:
        page, verdict = summary.verdicts[0] if summary.verdicts else (None, None)
        headline = verdict.headline if verdict else None
        rows.append(
            [
                summary.claim.id,
                summary.claim.short,
                Cell(f"{ICONS[summary.outcome]} {summary.outcome}", strong=summary.outcome not in SILENT),
                f"{headline.number} ({headline.label})" if headline else "–",
                summary.claim.figure,
                str(headline.n) if headline and headline.n else "–",
                Cell(page.info.name, link=f"{page.info.name}/") if page else "–",
            ]
        )
    return table("Verdicts", head, rows, left=len(head))


def _result(summary: Summary) -> str:
    claim = summary.claim
    found = [
        f"[{page.info.name}]({page.info.name}/) *{verdict.outcome}*"
        + (f", {verdict.headline.number}" if verdict.headline else "")
        + ("" if page.info.evidence else " (a demonstration, without a say)")
        for page, verdict in summary.verdicts
    ]
    return f"**{claim.id}** {claim.text} The paper: {paper_value(claim)} (*{claim.tag}*). {'; '.join(found) or 'No runs yet'}."


def in_plain_words(summaries: Sequence[Summary], pages: Sequence[Page]) -> list[str]:
    """The claims by outcome, and the reading of the paper with the highest accuracy."""
    sentences = []
    for outcome, words in _GROUPS.items():
        claims = [f"{one.claim.id} ({one.claim.short})" for one in summaries if one.outcome == outcome]
        if claims:
            sentences.append(f"**{words}:** {'; '.join(claims)}.")
    return sentences + [reading for page in pages if page.info.name == READINGS and (reading := best_reading(page))]


def best_reading(page: Page) -> str:
    """The variant of the experiment on open questions that ends highest, compared with our default.

    Only variants with the baseline's network are compared; nothing is concluded from fewer than ``ENOUGH`` seeds in common.
    """
    section = page.sections[0]
    variants = best_recipes(section.variants)
    ours = next((one for one in variants if one.name == page.info.baseline), None)
    if ours is None:
        return ""
    alike = [one for one in variants if _network(one) == _network(ours)]
    readings = [one for one in alike if compare(one.finals, ours.finals).completed >= ENOUGH]
    if len(readings) < 2 or ours not in readings:
        return f"**The best reading of the paper** is open: {READINGS} has too few seeds."
    best = max(readings, key=lambda one: one.test.mean)
    where = f"[{READINGS}]({READINGS}/) ({section.scale})"
    if best is ours:
        second = max((one for one in readings if one is not ours), key=lambda one: one.test.mean)
        found = f"our default, {percent(ours.test)} %, before `{second.name}`, {percent(second.test)} %"
    else:
        apart = compare(best.finals, ours.finals)
        found = (
            f"`{best.name}`, {percent(best.test)} %, against {percent(ours.test)} % with our default: a difference of "
            f"{100 * apart.difference:+.1f} points{difference_interval(apart.low, apart.high)}"
            + (", which may be chance" if apart.low <= 0 <= apart.high else "")
        )
    return f"**The highest accuracy** among {len(readings)} readings of the paper in {where} has {found}."


def _network(variant: Variant) -> dict[str, object]:
    return {key: value for key, value in variant.recipe.items() if key.startswith("model.")}
