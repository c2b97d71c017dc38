"""The runs of an archive, sorted into what may be compared (a *scale*) and what may be averaged (a *variant*)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from ..config import BUDGETS
from ..data import DATASETS, predicts_tokens
from ..statistics.estimates import Estimate, Reached, estimate
from ..words import pluralize
from .edges import edge
from .recipe import changes_of, network, recipe_of, searched_with, setting, settings_of
from .runs import Archive

BUDGETS_LARGEST_FIRST = BUDGETS[::-1]
BANDS = 8  # most lines of a figure that have bands: more bands hide the lines, and tables have the intervals
MARGIN = 0.05  # a run trains if it ends this far above chance: 15 % for ten classes


@dataclass(frozen=True)
class Scale:
    """The conditions that runs must share to stand in one table.

    Attributes:
        budget: ``paper``, ``cpu`` or ``smoke``.
        epochs: Planned length of the training.
        data: The data set, with its source where that matters.
    """

    budget: str
    epochs: float
    data: str

    @property
    def slug(self) -> str:
        """The scale in a file name."""
        return re.sub(r"[^a-z0-9]+", "-", str(self).lower()).strip("-")

    def __str__(self) -> str:
        return f"{self.data}, {self.budget} budget, {pluralize(self.epochs, 'epoch')}"


def _over_completed(column: str) -> cached_property[Estimate]:
    """The mean of a column of ``runs.csv`` over a variant's completed runs."""
    return cached_property(lambda variant: estimate(variant.completed[column]))


@dataclass(frozen=True)
class Variant:
    """Runs that differ in nothing but the seed: one row of a table, one line of a figure.

    Attributes:
        name: The variant of the experiment to which they belong.
        label: The name; where runs of the variant exist with several recipes, then with what is different in this one.
        is_best_recipe: Whether this is the recipe for verdicts and figures: the one with the most runs and, among equals, of
            the network that the most variants have runs of, in float32 and then with the best mean accuracy on the validation
            split at the last epoch.
        is_common_recipe: Whether the recipe but for model and initializer is the one that the most variants have runs of
            and, among equals, in float32 and then with the best accuracy on the validation split averaged over the variants.
            A run that diverged counts as 0 in both choices.
        recipe: What a config says of the training, ``{"optim.lr": 0.1, ...}``.
        runs: Their rows of ``runs.csv``.
        curves: Their rows of ``curves.csv``.
        last: The last epoch of the budget.
        edge: ``highest`` or ``lowest`` where the learning rate is at that end of those searched; else empty.
        classes: Number of classes; None where the answer is one of a vocabulary.
        test: Test accuracy after the last epoch, over completed runs like all that follow.
        best: Test accuracy at its best epoch.
        top5: Top-5 test accuracy after the last epoch, of runs that have one.
        averaged: Test accuracy of the averaged weights, of runs that have them.
        validation: Validation accuracy after the last epoch: what recipes may be chosen by.
        loss: Validation loss after the last step.
        tokens: Tokens of all steps.
        flops: Floating-point operations of all steps.
    """

    name: str
    label: str
    is_best_recipe: bool
    is_common_recipe: bool
    recipe: dict[str, Any]
    runs: pd.DataFrame
    curves: pd.DataFrame
    last: float
    classes: int | None
    edge: str = ""

    test = _over_completed("test_accuracy")
    best = _over_completed("best_test_accuracy")
    top5 = _over_completed("test_top5_accuracy")
    averaged = _over_completed("test_ema_accuracy")
    validation = _over_completed("validation_accuracy")
    loss = _over_completed("validation_loss")
    tokens = _over_completed("tokens")
    flops = _over_completed("flops")

    @property
    def lr(self) -> float:
        """Learning rate."""
        return float(self.recipe["optim.lr"])

    @property
    def model(self) -> str:
        """Name of the network's family."""
        return str(self.recipe["model.name"])

    @cached_property
    def completed(self) -> pd.DataFrame:
        """Rows of the runs that did not diverge."""
        return self.runs[self.runs["state"] == "done"]

    @cached_property
    def diverged(self) -> int:
        """Number of runs that diverged."""
        return len(self.runs) - len(self.completed)

    @property
    def chance(self) -> float:
        """The accuracy of a guess; 0 where the answer is one of a vocabulary."""
        return 1 / self.classes if self.classes else 0.0

    @cached_property
    def failures(self) -> int:
        """Number of runs that diverged, or ended no further above chance on the test split than ``MARGIN``."""
        return self.diverged + int((self.completed["test_accuracy"] <= self.chance + MARGIN).sum())

    @cached_property
    def is_language_model(self) -> bool:
        """Whether it is a language model, which is judged by its loss and not by its accuracy."""
        return predicts_tokens(str(json.loads(self.runs["config"].iloc[0])["data"]["name"]))

    @property
    def metric(self) -> str:
        """The metric of the validation split by which it is judged: ``accuracy`` or ``loss``."""
        return "loss" if self.is_language_model else "accuracy"

    @cached_property
    def finals(self) -> dict[int, float]:
        """Seed -> accuracy after the last epoch, NaN for a run that diverged: on the test split, which language models lack."""
        column = "validation_accuracy" if self.is_language_model else "test_accuracy"
        values = self.runs[column].where(self.runs["state"] == "done", math.nan)
        return {int(seed): float(value) for seed, value in zip(self.runs["seed"], values, strict=True)}

    @cached_property
    def time(self) -> float:
        """Seconds of a run, the median over completed ones: now and then a machine stands still; NaN without any."""
        return float(self.completed["time_s"].median())

    def reached(self, percent: int) -> Reached:
        """Epochs to a validation accuracy of ``THRESHOLDS``, over all runs; those that diverged before have not reached it."""
        return Reached(tuple(self.runs[f"epochs_to_{percent}"]), self.last)


def scales(archive: Archive) -> list[Scale]:
    """The scales at which an archive has main runs: the largest budget first, then the longest training."""
    main = labelled(archive)
    main = main[main["phase"] == "main"]
    conditions = main[["budget", "epochs", "data"]].drop_duplicates().itertuples(index=False)
    found = [Scale(str(budget), float(epochs), str(data)) for budget, epochs, data in conditions]
    return sorted(found, key=lambda scale: (BUDGETS_LARGEST_FIRST.index(scale.budget), -scale.epochs, scale.data))


def list_variants(archive: Archive, scale: Scale) -> list[Variant]:
    """The variants at one scale, the best mean test accuracy (or validation loss) first; without a completed run last."""
    runs = labelled(archive)
    here = runs[(runs["budget"] == scale.budget) & (runs["data"] == scale.data)]
    main = here[(here["phase"] == "main") & (here["epochs"] == scale.epochs)]
    recipes = main["config"].map(recipe_of)
    searched = _searched(here[here["phase"] == "tune"])
    rows_of = archive.curves.groupby("hash").indices
    shared, networks = _ranked(main, setting, recipes)[-1], _ranked(main, network, recipes)
    found = []
    for name, of_variant in main.groupby("arm"):
        own = recipes[of_variant.index]
        groups = {recipe: of_variant[own == recipe] for recipe in sorted(set(own))}
        places = {recipe: networks.index(network(json.loads(recipe))) for recipe in groups}
        merits = {recipe: (len(runs), places[recipe], *_merit(recipe, runs)) for recipe, runs in groups.items()}
        best = sorted(groups, key=merits.__getitem__, reverse=True)
        first = json.loads(best[0])
        for index, key in enumerate(best):
            recipe, group = json.loads(key), groups[key]
            found.append(
                Variant(
                    name=str(name),
                    label=str(name) if index == 0 else f"{name} ({changes_of(first, recipe)})",
                    is_best_recipe=index == 0,
                    is_common_recipe=setting(recipe) == shared,
                    recipe=recipe,
                    runs=group,
                    curves=archive.curves.iloc[_joined([np.asarray(rows_of[run]) for run in group["hash"] if run in rows_of])],
                    last=scale.epochs,
                    edge=edge(searched.get((str(name), searched_with(recipe)), ()), float(recipe["optim.lr"])),
                    classes=_classes(group.iloc[0], archive),
                )
            )
    return sorted(found, key=_rank)


def best_recipes(variants: Sequence[Variant]) -> list[Variant]:
    """Each variant with the recipe for verdicts and figures."""
    return [variant for variant in variants if variant.is_best_recipe]


def _searched(tune: pd.DataFrame) -> dict[tuple[str, str], list[float]]:
    """Variant and recipe -> the learning rates of its search runs."""
    found: dict[tuple[str, str], list[float]] = {}
    for name, rate, config in zip(tune["arm"], tune["lr"], tune["config"], strict=True):
        found.setdefault((str(name), searched_with(json.loads(recipe_of(config)))), []).append(float(rate))
    return found


def labelled(archive: Archive) -> pd.DataFrame:
    """The runs, with the checksum in the name of their data where data of one name differ: such runs are never averaged."""
    checksums = {key: str(content.get("data_checksum") or "unknown")[:8] for key, content in archive.environments.items()}
    own = archive.runs["environment"].map(checksums).astype("string")
    several = own.groupby(archive.runs["data"]).transform("nunique") > 1
    names = archive.runs["data"].where(~several, archive.runs["data"] + ", checksum " + own)
    return archive.runs.assign(data=names)


def _classes(run: pd.Series, archive: Archive) -> int | None:
    """Number of classes of a run's data: from the registry, or for a user's data from the run's environment."""
    known = DATASETS[json.loads(run["config"])["data"]["name"]].info.classes
    return known or archive.environments.get(run["environment"], {}).get("classes")


def _joined(rows: list[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate(rows)) if rows else np.array([], dtype=int)


def by_model(variants: Sequence[Variant]) -> dict[str, list[Variant]]:
    """Model -> its variants, in their order: initializers are compared within a model."""
    return {
        model: [variant for variant in variants if variant.model == model]
        for model in sorted({variant.model for variant in variants})
    }


def model_prefixes(variants: Sequence[Variant]) -> list[str]:
    """The model of each variant, where there are several and variants are called ``model-initializer``; else nothing."""
    several = len(by_model(variants)) > 1
    return [variant.name.rpartition("-")[0] if several else "" for variant in variants]


def varied(variants: Sequence[Variant]) -> tuple[str, ...]:
    """The keys, but for those of model and initializer, that have several values among the variants."""
    settings = [{key: str(value) for key, value in settings_of(variant.recipe).items()} for variant in variants]
    keys = {key for setting in settings for key in setting}
    return tuple(sorted(key for key in keys if len({setting.get(key) for setting in settings}) > 1))


def _score(runs: pd.DataFrame) -> float:
    """The score of a recipe: mean accuracy on the validation split at the last epoch, 0 for a run that diverged."""
    return float(runs["validation_accuracy"].where(runs["state"] == "done", 0).fillna(0).mean())


def _merit(recipe: str, runs: pd.DataFrame) -> tuple[bool, float]:
    """What decides between recipes of equally many runs: full precision, which is no matter of tuning, and then the score."""
    return json.loads(recipe).get("train.precision") == "float32", _score(runs)


def _ranked(main: pd.DataFrame, of_recipe: Callable[[dict[str, Any]], str], recipes: pd.Series) -> list[str]:
    """What variants share of their recipes, last what the most of them have runs of: all can be shown with that."""

    def merit(shared: str, runs: pd.DataFrame) -> tuple[int, bool, float, str]:
        merits = [_merit(shared, of_variant) for _, of_variant in runs.groupby("arm")]
        return len(merits), merits[0][0], fmean(score for _, score in merits), shared

    groups = main.groupby(recipes.map({recipe: of_recipe(json.loads(recipe)) for recipe in set(recipes)}))
    return [merits[-1] for merits in sorted(merit(str(shared), runs) for shared, runs in groups)]


def _rank(variant: Variant) -> tuple[float, str]:
    if not len(variant.completed):
        return math.inf, variant.label
    return variant.loss.mean if variant.is_language_model else -variant.test.mean, variant.label
