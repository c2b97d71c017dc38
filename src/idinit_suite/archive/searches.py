"""The searches for learning rates in an archive: short runs of a variant, compared on the validation split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from .recipe import changes_of, recipe_of, searched_with, settings_of
from .variants import Variant, best_recipes


@dataclass(frozen=True)
class Search:
    """The search for a learning rate: short runs of a variant that differ in nothing but that rate and the seed.

    Attributes:
        name: The variant.
        changes: What is different in its recipe from that of the variant's main runs; empty if nothing is.
        runs: Their rows of ``runs.csv``.
        picked: The learning rate of the main runs that have its recipe; None where there are none.
    """

    name: str
    changes: str
    runs: pd.DataFrame
    picked: float | None


def list_searches(tune: pd.DataFrame, variants: Sequence[Variant]) -> list[Search]:
    """The searches among some search runs: by variant; of a variant, the search with the recipe of its main runs comes first.

    Args:
        tune: Rows of ``runs.csv``.
        variants: The variants of the main runs.
    """
    used = {variant.name: variant for variant in best_recipes(variants)}
    common = next((variant for variant in variants if variant.is_common_recipe), None)
    found = []
    for name, own in tune.groupby("arm"):
        main = used.get(str(name))
        wanted = searched_with(main.recipe) if main else None
        recipes = own["config"].map(lambda config: searched_with(json.loads(recipe_of(config))))
        for recipe in sorted(set(recipes), key=lambda recipe: (recipe != wanted, recipe)):
            settings = json.loads(recipe)
            if main:
                changes = changes_of(json.loads(searched_with(main.recipe)), settings)
            else:  # it has a network and an initialization of its own
                settings = settings_of(settings)
                shared = settings_of(json.loads(searched_with(common.recipe))) if common else settings
                changes = changes_of(shared, settings)
            found.append(Search(str(name), changes, own[recipes == recipe], main.lr if main and recipe == wanted else None))
    return found
