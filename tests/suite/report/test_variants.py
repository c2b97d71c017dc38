from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy import stats

from idinit_suite.archive.recipe import settings_of
from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import Scale, Variant, list_variants, scales

JPEG = "CIFAR-10 (JPEG copy)"


@pytest.fixture
def variants_of(tmp_path: Path) -> Callable[[list[Path]], list[Variant]]:
    def read(runs: list[Path]) -> list[Variant]:
        merge(runs, tmp_path / "r")
        archive = load(tmp_path / "r")
        return list_variants(archive, scales(archive)[0])

    return read


def test_runs_of_one_variant_are_averaged_over_seeds(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    finals = [0.5, 0.56, 0.53]
    (variant,) = variants_of([make_run("idinit", [0.1, final], seed=seed) for seed, final in enumerate(finals)])
    low, high = stats.t.interval(0.95, 2, loc=0.53, scale=stats.sem(finals))
    assert variant.label == "idinit" and variant.is_best_recipe and variant.diverged == 0 and variant.lr == 0.1
    assert variant.test.mean == pytest.approx(0.53) and variant.test.n == 3
    assert 2 * variant.test.half_width == pytest.approx(high - low)


def test_last_epoch_and_best_epoch_differ(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    (variant,) = variants_of([make_run("idinit", [0.1, 0.5, 0.5], [0.1, 0.6, 0.4])])
    assert (variant.test.mean, variant.best.mean) == (0.4, 0.6)


def test_diverged_runs_are_counted_and_leave_the_mean_alone(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    runs = [
        make_run("xavier", [0.1, 0.7, 0.8], seed=0, time_s=100),
        make_run("xavier", [0.1, 0.62], seed=1, state="diverged", epochs=2, time_s=10),
        make_run("xavier", [0.1], seed=2, state="diverged", epochs=2, time_s=5),
    ]
    (variant,) = variants_of(runs)
    assert len(variant.runs) == 3 and variant.diverged == 2
    assert (variant.test.mean, variant.test.n, variant.time) == (0.8, 1, 100)
    assert str(variant.reached(60)) == "1 (2 of 3)"  # the second got there before it diverged
    assert str(variant.reached(70)) == "> 2 (1 of 3)"


def test_the_time_of_a_run_is_the_median(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    (variant,) = variants_of(
        [make_run("idinit", [0.1, 0.5], seed=seed, time_s=time) for seed, time in enumerate((90, 2000, 100))]
    )
    assert variant.time == 100, "one run stood still for half an hour"


def test_epochs_are_those_of_the_validation_split(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    (variant,) = variants_of([make_run("idinit", [0.1, 0.5, 0.7, 0.9], [0.1, 0.9, 0.9, 0.9])])
    assert [str(variant.reached(p)) for p in (60, 70, 80)] == ["2", "2", "3"]


def test_a_run_that_ended_before_any_evaluation_has_reached_nothing(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    run = make_run("xavier", [0.1], state="diverged", epochs=2)
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(line for line in lines if '"train"' in line))
    (variant,) = variants_of([run])
    assert str(variant.reached(60)) == "> 2" and math.isnan(variant.best.mean)


def test_variants_are_sorted_by_final_accuracy_and_those_that_always_diverged_come_last(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    runs = [
        make_run("diverging", [0.1, 0.9], state="diverged", epochs=2),
        make_run("low", [0.1, 0.2, 0.2]),
        make_run("high", [0.1, 0.2, 0.8]),
        make_run("also-low", [0.1, 0.2, 0.2]),
    ]
    assert [variant.label for variant in variants_of(runs)] == ["high", "also-low", "low", "diverging"]


def test_recipes_of_one_variant_are_not_averaged(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    runs = [make_run("idinit", [0.1, 0.4], seed=seed) for seed in range(2)]
    runs.append(make_run("idinit", [0.1, 0.6], lr=0.01, optim={"momentum": 0.5}))
    better, usual = variants_of(runs)
    assert usual.label == "idinit" and usual.is_best_recipe and len(usual.runs) == 2
    assert better.label == "idinit (optim.lr=0.01, optim.momentum=0.5)" and not better.is_best_recipe
    assert better.name == "idinit" and len(better.runs) == 1


def test_among_equally_many_runs_the_recipe_is_chosen_on_the_validation_split(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    runs = [
        make_run("idinit", [0.1, 0.5], [0.1, 0.4], lr=0.1),
        make_run("idinit", [0.1, 0.4], [0.1, 0.5], lr=0.2),  # better on the test set, which must not decide
    ]
    chosen = {variant.lr: variant.is_best_recipe for variant in variants_of(runs)}
    assert chosen == {0.1: True, 0.2: False}


def test_among_equally_many_runs_those_of_full_precision_stand_for_the_variant(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    runs = [
        make_run(variant, [0.1, accuracy], train={"precision": precision})
        for variant, accuracies in {"idinit": (0.5, 0.6), "fixup": (0.7, 0.6)}.items()
        for precision, accuracy in zip(("float32", "bf16"), accuracies, strict=True)
    ]
    runs.append(make_run("zero", [0.1, 0.4], train={"precision": "bf16"}))
    found = variants_of(runs)
    assert {variant.label for variant in found if variant.is_best_recipe} == {"idinit", "fixup", "zero"}
    rounded = [f"{name} (train.precision=bf16)" for name in ("fixup", "idinit")]
    assert sorted(variant.label for variant in found if not variant.is_best_recipe) == rounded
    assert len([variant for variant in found if variant.is_common_recipe]) == 3, "more variants have runs in bf16"


def test_scales_are_kept_apart_with_the_largest_first(make_run: Callable[..., Path], tmp_path: Path) -> None:
    original = {"data_source": "CIFAR-10"}
    merge(
        [
            make_run("idinit", [0.1, 0.5], budget="smoke"),
            make_run("idinit", [0.1, 0.5], budget="cpu", seed=1),
            make_run("idinit", [0.1, 0.5, 0.6], budget="cpu", seed=2),
            make_run("idinit", [0.1, 0.5], budget="cpu", seed=3, environment=original),
            make_run("idinit", [0.1, 0.5], budget="paper", seed=4),
            make_run("idinit", [0.1, 0.5], budget="paper", seed=5, phase="tune", epochs=9),
        ],
        tmp_path / "r",
    )
    archive = load(tmp_path / "r")
    found = scales(archive)
    assert found == [
        Scale("paper", 1, JPEG),
        Scale("cpu", 2, JPEG),
        Scale("cpu", 1, "CIFAR-10"),
        Scale("cpu", 1, JPEG),
        Scale("smoke", 1, JPEG),
    ]
    assert [[list(variant.runs["seed"]) for variant in list_variants(archive, scale)] for scale in found] == [
        [[4]],
        [[2]],
        [[3]],
        [[1]],
        [[0]],
    ]
    assert str(found[1]) == "CIFAR-10 (JPEG copy), cpu budget, 2 epochs"
    assert found[0].slug == "cifar-10-jpeg-copy-paper-budget-1-epoch"


def test_the_shared_recipe_is_the_one_of_most_variants_and_then_the_best_for_all(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    runs = [make_run("idinit", [0.1, 0.9], lr=0.3), make_run("fixup", [0.1, 0.2], lr=0.01)]
    runs += [make_run(variant, [0.1, 0.5], lr=0.1) for variant in ("idinit", "fixup")]
    runs += [make_run("idinit", [0.1, 0.8], lr=0.03), make_run("fixup", [0.1, 0.4], state="diverged", lr=0.03, epochs=1)]
    found = variants_of(runs)
    assert {(variant.name, variant.lr) for variant in found if variant.is_common_recipe} == {
        ("idinit", 0.1),
        ("fixup", 0.1),
    }  # 0.5 beats (0.8 + 0) / 2
    assert {(variant.name, variant.lr) for variant in found if variant.is_best_recipe} == {("idinit", 0.3), ("fixup", 0.1)}


def test_of_shared_recipes_that_of_full_precision_comes_first(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    accuracies = {"float32": 0.5, "bf16": 0.6}
    found = variants_of(
        [
            make_run(variant, [0.1, accuracy], train={"precision": precision})
            for variant in ("idinit", "fixup")
            for precision, accuracy in accuracies.items()
        ]
    )
    assert {variant.recipe["train.precision"] for variant in found if variant.is_common_recipe} == {"float32"}


def test_variants_are_shown_with_one_network_where_each_has_runs_of_it(
    make_run: Callable[..., Path], variants_of: Callable[[list[Path]], list[Variant]]
) -> None:
    accuracies = {"resnet": {"idinit": 0.9, "fixup": 0.5}, "mlp": {"idinit": 0.6, "fixup": 0.7, "zero": 0.1}}
    runs = [
        make_run(variant, [0.1, accuracy], model=model)
        for model, of_model in accuracies.items()
        for variant, accuracy in of_model.items()
    ]
    found = [variants_of(runs[:-1]), variants_of(runs[-1:])]  # the first of equals on average, then that of most variants
    shown = [{variant.name: variant.model for variant in of_runs if variant.is_best_recipe} for of_runs in found]
    assert shown[0] == {"idinit": "resnet", "fixup": "resnet"}
    assert shown[1] == {"idinit": "mlp", "fixup": "mlp", "zero": "mlp"}


def test_word_vectors_are_no_recipe_but_initial_values() -> None:
    shared = {"data.width": 50, "optim.lr": 0.001}
    assert settings_of(shared | {"model.name": "textcnn", "init.name": "default", "data.vectors": "glove-6b-50d"}) == shared


@pytest.mark.parametrize(
    ("checksums", "labels"),
    [
        (("feed", "feed"), [JPEG]),
        (("feed", "beef"), [f"{JPEG}, checksum beef", f"{JPEG}, checksum feed"]),
        (("feed", None), [f"{JPEG}, checksum feed", f"{JPEG}, checksum unknown"]),
        ((None, None), [JPEG]),
    ],
)
def test_seeds_on_data_of_different_checksums_are_never_averaged(
    checksums: tuple[str | None, ...], labels: list[str], make_run: Callable[..., Path], tmp_path: Path
) -> None:
    runs = [
        make_run("idinit", [0.1, 0.5 + seed / 10], seed=seed, environment={"data_source": JPEG, "data_checksum": checksum})
        for seed, checksum in enumerate(checksums)
    ]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    found = {scale.data: list_variants(archive, scale) for scale in scales(archive)}
    assert list(found) == labels
    assert [len(variant.runs) for rows in found.values() for variant in rows] == [2 // len(labels)] * len(labels)
