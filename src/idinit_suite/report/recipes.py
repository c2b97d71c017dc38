"""The tables of one scale by recipe: each arm's own, the one that arms share, and the map of all."""

from __future__ import annotations

from collections.abc import Sequence

from ..archive.recipe_grid import Map, maps
from ..archive.variants import Arm, varied
from .compute_to_loss import compute_table
from .tables import PAIRED_NOTES, grid, markdown, paired


def main_table(arms: Sequence[Arm], tuned: bool) -> list[str]:
    """The table of one scale as parts of a page: all recipes, but of a map only each arm's best.

    Args:
        arms: The arms in all their recipes, in the order of the table.
        tuned: Whether each arm's learning rate was picked from a grid.
    """
    if maps(arms):
        return ["Each arm with its best recipe on the validation split:", markdown(_own(arms), tuned)]
    return [markdown(arms, tuned)]


def more_tables(arms: Sequence[Arm], baseline: str, name: str) -> list[str]:
    """What else there is to say, as parts of a page: each arm against the baseline, the shared recipe, the maps.

    Args:
        arms: The arms in all their recipes.
        baseline: The arm that the others are compared with.
        name: The experiment.
    """
    own = _own(arms)
    parts = []
    if tables := against(own, baseline):
        losses = arms[0].guesses_tokens
        heading = f"### {'Compute to the final loss of' if losses else 'Against'} {baseline}"
        parts += [heading, *tables.values(), *([] if losses else [PAIRED_NOTES])]
    if any(not arm.shared for arm in own):
        parts += _shared(arms, own, name)
    found = maps(arms)
    if found:
        best = "Test accuracy in percent after the last epoch."
        parts += ["### All recipes", best, *(_map(one) for one in found.values())]
    return parts


def against(arms: Sequence[Arm], baseline: str) -> dict[str, str]:
    """Each arm against the baseline; among arms called ``model-initializer`` against that of its own model.

    Args:
        arms: One recipe of each arm.
        baseline: The arm that the others are compared with, or the initializer.

    Returns:
        Name of the arm compared with -> the table as Markdown: of accuracies seed by seed, with a sentence below it where there
        are intervals; of language models compute.
    """
    table = compute_table if arms[0].guesses_tokens else paired
    if any(arm.name == baseline for arm in arms):
        return {baseline: table(arms, baseline)}
    references = sorted(arm.name for arm in arms if arm.name.endswith(f"-{baseline}"))
    return {name: table([arm for arm in arms if arm.name.startswith(name.removesuffix(baseline))], name) for name in references}


def _own(arms: Sequence[Arm]) -> list[Arm]:
    return [arm for arm in arms if arm.primary]


def _shared(arms: Sequence[Arm], own: Sequence[Arm], name: str) -> list[str]:
    """One recipe for all: what is said of methods without any tuning of each."""
    shared = [arm for arm in arms if arm.shared]
    keys = varied(arms)
    recipe = [f"{key}={shared[0].recipe[key]}" for key in keys if key in shared[0].recipe]
    absent = [arm.name for arm in own if arm.name not in {arm.name for arm in shared}]
    missing = f' Not run with it: {", ".join(absent)}; `make {name} ARGS="{" ".join(recipe)}"` runs what is missing.'
    heading = f"The recipe that most arms have runs of and, among equals, that is best for all together: {', '.join(recipe)}."
    return [
        "### One recipe for all",
        heading + (missing if absent else ""),
        markdown(shared, tuned=False),
    ]


def _map(one: Map) -> str:
    """A map as Markdown: test accuracy in percent at each point."""
    across, down = (key.rpartition(".")[2].replace("_", " ") for key in one.keys)
    rows = [[f"{down} {y:g}", *(_cell(one.cells[x, y]) for x in one.x)] for y in one.y]
    share = f"{one.trains} of {len(one.cells)} recipes train"
    return f"**{one.name}**: {share}\n\n{grid(['', *(f'{across} {x:g}' for x in one.x)], rows)}"


def _cell(arm: Arm) -> str:
    if not arm.test.n:
        return "diverged"
    text = f"{100 * arm.test.mean:.1f}"
    return f"{text} ({arm.diverged} diverged)" if arm.diverged else text
