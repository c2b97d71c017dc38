from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from idinit_suite.archive.edges import LEGEND
from idinit_suite.archive.runs import Archive, load, merge
from idinit_suite.archive.variants import list_variants, scales
from idinit_suite.report.blocks import markdown
from idinit_suite.report.columns import notes
from idinit_suite.report.formatting import amount, difference_interval, duration, percent, plain
from idinit_suite.report.recipes import more_tables
from idinit_suite.report.table import Cell, markdown_table, table, terminal_table
from idinit_suite.report.tables import paired, results_table, search_tables
from idinit_suite.statistics.estimates import estimate


@pytest.fixture
def archive(make_run: Callable[..., Path], tmp_path: Path) -> Archive:
    runs = [make_run("idinit", [0.1, 0.65, 0.72], seed=seed, time_s=420 + seed) for seed in range(2)]
    runs += [make_run("kaiming", [0.1, 0.2, 0.3], lr=0.01, time_s=40)]
    runs += [make_run("xavier", [0.1], state="diverged", epochs=2, seed=seed) for seed in range(2)]
    merge(runs, tmp_path / "r")
    return load(tmp_path / "r")


def test_the_table_row_by_row(archive: Archive) -> None:
    (scale,) = scales(archive)
    assert markdown_table(results_table("", list_variants(archive, scale), tuned=False)).splitlines() == [
        "| initializer | runs (diverged) | learning rate | test accuracy, last epoch | test accuracy, best epoch "
        "| epochs to 60 % | epochs to 70 % | epochs to 80 % | time |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| idinit | 2 | 0.1 | 72.0 (n = 2) | 72.0 (n = 2) | 1 | 2 | > 2 | 7 min |",
        "| kaiming | 1 | 0.01 | 30.0 (n = 1) | 30.0 (n = 1) | > 2 | > 2 | > 2 | 40 s |",
        "| xavier | 2 (2) | 0.1 | diverged | diverged | > 2 | > 2 | > 2 | – |",
    ]


def test_top5_and_averaged_weights_have_columns_where_runs_have_them(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run("idinit", [0.1, 0.65])
    status = json.loads((folder / "status.json").read_text())
    status["final"]["test"] |= {"top5_accuracy": 0.9, "ema_accuracy": 0.66}
    (folder / "status.json").write_text(json.dumps(status))
    merge([folder, make_run("kaiming", [0.1, 0.3])], tmp_path / "r")
    archive = load(tmp_path / "r")
    lines = markdown_table(results_table("", list_variants(archive, scales(archive)[0]), tuned=False)).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[4:8]] for line in (lines[0], *lines[2:])]
    assert cells == [
        [
            "test accuracy, last epoch",
            "top-5 accuracy, last epoch",
            "averaged weights, last epoch",
            "test accuracy, best epoch",
        ],
        ["65.0 (n = 1)", "90.0 (n = 1)", "66.0 (n = 1)", "65.0 (n = 1)"],
        ["30.0 (n = 1)", "–", "–", "30.0 (n = 1)"],
    ]


def test_each_variant_against_the_baseline(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run("idinit", [0.1, final], seed=seed) for seed, final in enumerate([0.5, 0.6, 0.9])]
    runs += [make_run("kaiming", [0.1, final], seed=seed) for seed, final in enumerate([0.4, 0.4, 0.6])]
    runs += [make_run("zero", [0.1, final], seed=seed) for seed, final in enumerate([0.45, 0.52, 0.85])]
    runs += [make_run("xavier", [0.1, final], seed=seed) for seed, final in ((1, 0.65), (2, 0.95))]
    runs += [make_run("xavier", [0.1], state="diverged", epochs=1), make_run("lsuv", [0.1, 0.3])]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    rows = list_variants(archive, scales(archive)[0])
    # the differences -10, -20, -30: t(0.975, 2) = 4.3027, standard error 10 / sqrt(3); Wilson's interval of 3 of 3
    assert markdown(paired(rows, "idinit")).splitlines()[2:] == [
        "| xavier | 3 | +5.0 (+5.0 to +5.0), of 2 | 0.67 | 2 of 3 (21 to 94 %) | – |",
        "| idinit | – | – | – | 3 of 3 (44 to 100 %) | 20.8 |",
        "| zero | 3 | -6.0 (-10.3 to -1.7) | 0.00 | 3 of 3 (44 to 100 %) | 21.4 |",
        "| kaiming | 3 | -20.0 (-44.8 to +4.8) | 0.00 | 3 of 3 (44 to 100 %) | 11.5 |",
        "| lsuv | 1 | – | – | 1 of 1 | – |",
        "",
        "Different from `idinit` (its 95 % interval leaves out 0; not corrected for the number of comparisons): above it none; "
        "below it `zero`; not judged, because some runs of a pair diverged: `xavier`.",
    ]
    assert ": above it `idinit`; below it none;" in markdown(paired(rows, "zero"))
    alone = [variant for variant in rows if variant.name in ("idinit", "lsuv")]
    assert markdown(paired(alone, "idinit")).splitlines()[-1].startswith("| lsuv "), "one pair is compared with nothing"


def test_variants_of_several_models_are_compared_within_each(make_run: Callable[..., Path], tmp_path: Path) -> None:
    finals = {"cnn-default": 0.5, "cnn-idinit_1e-3": 0.6, "rnn-default": 0.9, "rnn-idinit_1e-3": 0.7}
    merge([make_run(variant, [0.1, final]) for variant, final in finals.items()], tmp_path / "r")
    archive = load(tmp_path / "r")
    page = markdown(more_tables(list_variants(archive, scales(archive)[0]), "default", "texts"))
    cells = [[cell.strip() for cell in line.split("|")[1:5]] for line in page.splitlines() if line.startswith("| ")]
    assert [row for row in cells if row[0] != "---"] == [
        ["initializer", "pairs", "difference to cnn-default", "probability of improvement"],
        ["cnn-idinit_1e-3", "1", "–", "–"],
        ["cnn-default", "–", "–", "–"],
        ["initializer", "pairs", "difference to rnn-default", "probability of improvement"],
        ["rnn-default", "–", "–", "–"],
        ["rnn-idinit_1e-3", "1", "–", "–"],
    ]
    assert more_tables(list_variants(archive, scales(archive)[0]), "neither", "texts") == []


def test_the_terminal_shows_the_same_cells(archive: Archive) -> None:
    (scale,) = scales(archive)
    text = io.StringIO()
    Console(file=text, width=80).print(terminal_table(results_table("demo: digits", list_variants(archive, scale), tuned=True)))
    lines = text.getvalue().splitlines()
    assert lines[0].strip() == "demo: digits"
    assert "(picked)" in text.getvalue()
    rows = [" ".join(line.split()) for line in lines if line.split()[:1] in (["idinit"], ["kaiming"], ["xavier"])]
    assert rows == [
        "idinit 2 0.1 72.0 72.0 1 2 > 2 7 min",
        "kaiming 1 0.01 30.0 30.0 > 2 > 2 > 2 40 s",
        "xavier 2 (2) 0.1 diverged diverged > 2 > 2 > 2 –",
    ]


def test_brackets_in_a_label_are_no_markup(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run("idinit", [0.1, 0.5], seed=seed) for seed in range(2)]
    merge([*runs, make_run("idinit", [0.1, 0.4], optim={"betas": [0.9, 0.99]})], tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    text = io.StringIO()
    Console(file=text, width=200).print(terminal_table(results_table("t", list_variants(archive, scale), tuned=False)))
    assert "idinit (optim.betas=[0.9, 0.99])" in text.getvalue()


def test_what_was_tried_to_pick_learning_rates(make_run: Callable[..., Path], tmp_path: Path) -> None:
    tune = {"phase": "tune", "epochs": 1}
    runs = [
        make_run("idinit", [0.1, 0.3], lr=0.1, **tune),
        make_run("idinit", [0.1, 0.5], lr=0.1, seed=1, **tune),
        make_run("idinit", [0.1, 0.2], lr=0.01, **tune),
        make_run("kaiming", [0.1], lr=0.1, state="diverged", **tune),
        make_run("kaiming", [0.1, 0.25], lr=0.01, **tune),
        make_run("kaiming", [0.1], lr=0.01, seed=1, state="diverged", **tune),
        make_run("idinit", [0.1, 0.9], lr=0.01, seed=2, budget="paper", **tune),
        make_run("idinit", [0.1, 0.5, 0.6], lr=0.1),
        make_run("kaiming", [0.1, 0.5, 0.6], lr=0.01),
    ]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    assert markdown(search_tables(archive, scale, list_variants(archive, scale))).splitlines() == [
        "Validation accuracy in percent after 1 epoch, 2 seeds; in bold what was used.",
        "",
        "| initializer | lr 0.01 | lr 0.1 |",
        "| --- | ---: | ---: |",
        "| idinit | 20.0 | **40.0** |",
        "| kaiming | **25.0 (1 diverged)** | diverged |",
    ]


def test_searches_of_another_recipe_are_rows_of_their_own(make_run: Callable[..., Path], tmp_path: Path) -> None:
    half = {"momentum": 0.5}
    runs = [
        make_run("idinit", [0.1, 0.5, 0.6], lr=0.1),
        make_run("idinit", [0.1, 0.3], lr=0.1, phase="tune"),
        make_run("idinit", [0.1, 0.2], lr=0.01, phase="tune"),
        make_run("idinit", [0.1, 0.8], lr=0.1, phase="tune", optim=half),
        make_run("idinit", [0.1, 0.7], lr=0.1, phase="tune", optim=half, seed=1),
        make_run("idinit", [0.1, 0.9], lr=0.03, phase="tune", optim=half),
        make_run("kaiming", [0.1, 0.4], lr=0.1, phase="tune", optim=half),
    ]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    assert markdown(search_tables(archive, scale, list_variants(archive, scale))).splitlines()[2:] == [
        "| initializer | lr 0.01 | lr 0.03 | lr 0.1 |",
        "| --- | ---: | ---: | ---: |",
        "| idinit | 20.0 | – | **30.0** |",
        "| idinit (optim.momentum=0.5) | – | 90.0 | 75.0 |",
        "| kaiming (optim.momentum=0.5) | – | – | 40.0 |",
    ]


def test_what_all_searches_have_in_common_is_said_once(make_run: Callable[..., Path], tmp_path: Path) -> None:
    names, half = ("idinit", "kaiming"), {"momentum": 0.5}
    runs = [make_run(name, [0.1, 0.5, 0.6], lr=0.1) for name in names]
    runs += [make_run(name, [0.1, 0.3], lr=0.1, phase="tune", optim=half) for name in names]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    heading, _, *_, first, second = markdown(search_tables(archive, scale, list_variants(archive, scale))).splitlines()
    assert "optim.momentum=0.5" in heading
    assert (first, second) == ("| idinit | 30.0 |", "| kaiming | 30.0 |")


def test_learning_rates_at_an_edge_of_the_search_are_marked(make_run: Callable[..., Path], tmp_path: Path) -> None:
    picks = {"idinit": 0.3, "kaiming": 0.1, "xavier": 0.01, "zero": 0.3, "lsuv": 0.1}
    searched = dict.fromkeys(picks, (0.01, 0.1, 0.3)) | {"zero": (0.3,), "lsuv": ()}  # one value, and none, have no edge
    runs = [make_run(name, [0.1, 0.5], lr=lr) for name, lr in picks.items()]
    runs += [make_run(name, [0.1, 0.3], lr=lr, phase="tune") for name, rates in searched.items() for lr in rates]
    runs += [
        make_run("kaiming", [0.1, 0.3], lr=lr, phase="tune", optim={"momentum": 0.5}) for lr in (0.1, 1.0)
    ]  # not its search
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    rows = list_variants(archive, scale)
    edges = {"idinit": "highest", "kaiming": "", "xavier": "lowest", "zero": "", "lsuv": ""}
    assert {variant.name: variant.edge for variant in rows} == edges
    shown = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[2]
        for line in markdown_table(results_table("", rows, True)).splitlines()
    }
    assert shown | {"idinit": "0.3 ↑", "kaiming": "0.1", "xavier": "0.01 ↓", "zero": "0.3", "lsuv": "0.1"} == shown
    assert LEGEND in notes(rows) and LEGEND not in notes([variant for variant in rows if not variant.edge])


def test_of_a_language_model_the_losses_are_told_that_were_tried(make_run: Callable[..., Path], tmp_path: Path) -> None:
    tried = [make_run("idinit", [0.1, last], lr=lr, phase="tune", language=True) for lr, last in ((0.1, 0.5), (0.01, 0.25))]
    merge([*tried, make_run("idinit", [0.1, 0.5], lr=0.1, language=True)], tmp_path / "r")
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    heading, _, *_, row = markdown(search_tables(archive, scale, list_variants(archive, scale))).splitlines()
    assert heading.startswith("Validation loss after 1 epoch")
    assert row == "| idinit | 1.386 | **0.693** |"  # minus the logarithms of 1/4 and 1/2


def test_no_tuning_runs_no_tuning_table(archive: Archive) -> None:
    (scale,) = scales(archive)
    assert search_tables(archive, scale, list_variants(archive, scale)) == []


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.54, 0.55, 0.56], "55.0 ± 2.5"),  # 4.303 * 0.01 / 1.732
        ([0.094, 0.108, 0.956], "38.6 (9.4 to 95.6)"),  # ± 122.6
        ([0.99, 0.994, 0.998], "99.4 (99.0 to 99.8)"),  # its upper end is 100.4
        ([0.01, 0.02, 0.03], "2.0 (1.0 to 3.0)"),  # its lower end is -0.5
        ([1.0, 1.0, 1.0], "100.0 ± 0.0"),
        ([0.094, 0.956], "52.5 (n = 2)"),
    ],
)
def test_an_interval_beyond_what_is_possible_gives_way_to_the_range(values: list[float], shown: str) -> None:
    assert percent(estimate(values)) == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(-0.012, 0.034, " (-1.2 to +3.4)"), (-1.828, 0.634, ""), (-0.2, 1.1, ""), (math.nan, math.nan, "")],
)
def test_an_interval_of_a_difference_beyond_100_points_is_left_out(low: float, high: float, shown: str) -> None:
    assert difference_interval(low, high) == shown


def test_percent() -> None:
    assert percent(estimate([0.5512])) == "55.1 (n = 1)"
    assert percent(estimate([])) == "diverged"
    assert percent(estimate([0.54, 0.56])) == "55.0 (n = 2)"  # ± 12.7 would say nothing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (101, "2 min"), (3569, "59 min"), (3599, "1 h 00 min"), (3900, "1 h 05 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
    assert duration(math.nan) == "–"


def test_a_markdown_table_aligns_links_and_escapes() -> None:
    shown = table("t", ["a", "b", "c"], [["1", Cell("2 | 3", strong=True), Cell("4", link="x/")]], left=2)
    assert markdown_table(shown) == "| a | b | c |\n| --- | --- | ---: |\n| 1 | **2 \\| 3** | [4](x/) |"


def test_cells_keep_the_numbers_that_they_show(archive: Archive) -> None:
    (scale,) = scales(archive)
    shown = results_table("", list_variants(archive, scale), tuned=False)
    keys = [row[shown.head.index("test accuracy,\nlast epoch")].key for row in shown.rows]
    assert keys[:2] == pytest.approx([0.72, 0.3]) and keys[2] is not None and math.isnan(keys[2])


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.6, "1 k"),
        (1234, "1.23 k"),
        (999_600, "1 M"),
        (9.332e6, "9.33 M"),
        (1.5e13, "15 T"),
        (3e21, "3e+03 E"),
        (math.nan, "–"),
    ],
)
def test_amount(number: float, text: str) -> None:
    assert amount(number) == text


def test_plain() -> None:
    assert plain(estimate([2.3456]), 3) == "2.346 (n = 1)"
    assert plain(estimate([2.0, 2.1, 2.2]), 2) == "2.10 ± 0.25"
    assert plain(estimate([0.1, 0.2, 6.0]), 2) == "2.10 (0.10 to 6.00)"  # a loss is never negative


def test_the_terminal_has_a_row_for_each_of_several_models(make_run: Callable[..., Path], tmp_path: Path) -> None:
    finals = {"transformer-orthogonal": 0.9, "transformer-idinit": 0.8, "textrnn-orthogonal": 0.85, "textrnn-idinit": 0.6}
    merge(
        [
            make_run(variant, [0.1, end], model=variant.split("-")[0], seed=seed)
            for variant, end in finals.items()
            for seed in (0, 1)
        ],
        tmp_path / "r",
    )
    archive = load(tmp_path / "r")
    (scale,) = scales(archive)
    text = io.StringIO()
    Console(file=text, width=80).print(terminal_table(results_table("texts", list_variants(archive, scale), tuned=True)))
    shown = [line.split()[:4] for line in text.getvalue().splitlines()[-9:] if line.strip()]
    assert shown[-6:] == [
        ["textrnn"],
        ["orthogonal", "2", "0.1", "85.0"],
        ["idinit", "2", "0.1", "60.0"],
        ["transformer"],
        ["orthogonal", "2", "0.1", "90.0"],
        ["idinit", "2", "0.1", "80.0"],
    ]
