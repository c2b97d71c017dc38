from __future__ import annotations

import io
import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
from rich.console import Console, RenderableType

from idinit.errors import UsageError
from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import list_variants, scales
from idinit_suite.config.experiment import ExperimentInfo
from idinit_suite.experiments.grid import load_experiment
from idinit_suite.report.figures import _STYLE, draw_curves, line_style, loss_limits
from idinit_suite.report.sparklines import sparklines
from idinit_suite.report.update import update_results


def lines_of(shown: RenderableType) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=150).print(shown)
    return [line.strip() for line in text.getvalue().splitlines() if line.strip()]


def printed(shown: RenderableType) -> str:
    return " ".join(" ".join(lines_of(shown)).split())


@pytest.fixture
def runs(make_run: Callable[..., Path]) -> list[Path]:
    """Two seeds of three variants, one run diverged, and a tuning run."""
    return [
        make_run("idinit", [0.1, 0.6, 0.82], seed=0),
        make_run("idinit", [0.1, 0.62, 0.84], seed=1),
        make_run("kaiming", [0.1, 0.1, 0.1], seed=0),
        make_run("kaiming", [0.1, 0.2], seed=1, state="diverged", epochs=2),
        make_run("fixup", [0.1, 0.5, 0.7], seed=0),
        make_run("idinit", [0.1, 0.4], phase="tune"),
        make_run("fixup", [0.1, 0.4], phase="tune"),
    ]


def test_everything_is_written_and_said(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    text = printed(update_results(info, runs, tmp_path / "r"))
    names = {path.name for path in (tmp_path / "r").iterdir()} - {".lock"}
    assert names == {"README.md", "runs.csv", "curves.csv", "environments.json", "curves.svg", "curves.png"}
    assert "cifar10-resnet56: CIFAR-10 (JPEG copy), cpu budget, 2 epochs" in text
    assert "idinit 2 0.1 83.0 83.0 1 2 2 2 min" in text
    assert "kaiming 2 (1) 0.1 10.0 10.0" in text
    assert "C1: not enough runs. The paper: no number (text). Ours: CIFAR-10 (JPEG copy), cpu budget, 2 epochs" in text
    assert "C2: not enough runs. The paper: first (review? 3/5). Ours: CIFAR-10 (JPEG copy)" in text


def test_the_page_word_by_word(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    update_results(info, runs, tmp_path / "r")
    page = (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    assert page == (Path(__file__).parent / "golden_page.md").read_text(encoding="utf-8")


def test_a_demonstration_ends_with_its_figure_and_what_to_try(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    demonstration = info.model_copy(update={"evidence": False, "next": ("make one", "make another")})
    lines = lines_of(update_results(demonstration, runs, tmp_path / "r"))
    assert "C1: " not in " ".join(lines) and "C1: " in printed(update_results(info, runs, tmp_path / "r"))
    assert lines[-3:] == ["What to try next:", "make one", "make another"]
    figures = [line.partition("Figure:")[2].strip() for line in lines if line.startswith("Figure:")]
    assert figures and all(Path(figure).is_file() for figure in figures)


def test_a_line_of_bars_rises_with_the_accuracy(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    update_results(info, runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    shown = [one for one in list_variants(archive, scales(archive)[0]) if one.is_best_recipe]
    rows = dict(line.split(maxsplit=1) for line in lines_of(sparklines(shown))[1:])
    for variant in shown:
        evaluations = variant.curves[
            (variant.curves["split"] == "validation") & variant.curves["hash"].isin(variant.completed["hash"])
        ]
        last = evaluations.groupby("epoch")["accuracy"].mean().iloc[-1] if len(evaluations) else None
        drawn = rows[variant.label].strip()
        assert drawn == "diverged" if last is None else drawn[-1] == "▁▂▃▄▅▆▇█"[round(8 * last) - 1], variant.label


def test_an_experiment_may_have_no_claims(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    plain = info.model_copy(update={"claims": (), "deviations": ()})
    update_results(plain, runs, tmp_path / "r")
    page = (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    assert "## Claims" not in page and "## Deviations" not in page and "**C" not in page


def test_the_archive_alone_gives_the_same_bytes(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    first = printed(update_results(info, runs, tmp_path / "r"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    for run in runs:
        shutil.rmtree(run)
    archive_only = tmp_path / "r2"
    archive_only.mkdir()
    for name in ("runs.csv", "curves.csv", "environments.json"):
        shutil.copy(tmp_path / "r" / name, archive_only / name)
    again = printed(update_results(info, [], archive_only))
    assert again.replace(str(archive_only), "") == first.replace(str(tmp_path / "r"), "")
    after = {path.name: path.read_bytes() for path in archive_only.iterdir()}
    assert {name: content for name, content in before.items() if name != ".lock"} == after


def test_the_runs_may_come_piecemeal_and_in_any_order(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    update_results(info, runs, tmp_path / "at-once")
    for few in (runs[5:], runs[2:6], runs[:2]):
        update_results(info, few, tmp_path / "piecemeal")
    for path in (tmp_path / "at-once").iterdir():
        assert path.read_bytes() == (tmp_path / "piecemeal" / path.name).read_bytes(), path.name


def test_only_the_scales_of_the_given_runs_are_printed(
    info: ExperimentInfo, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    cpu, paper = make_run("idinit", [0.1, 0.6]), make_run("idinit", [0.1, 0.9], budget="paper", seed=1)
    update_results(info, [paper], tmp_path / "r")
    text = printed(update_results(info, [cpu], tmp_path / "r"))
    assert "cpu budget" in text and "paper budget" not in text
    everything = printed(update_results(info, [], tmp_path / "r"))
    assert everything.index("paper budget") < everything.index("cpu budget")
    page = (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    assert "## Results: CIFAR-10 (JPEG copy), paper budget" in page
    assert "<details><summary>Results: CIFAR-10 (JPEG copy), cpu budget, 1 epoch</summary>" in page, "shorter ones are folded"
    assert "](curves.png)" in page and "](curves-cifar-10-jpeg-copy-cpu-budget-1-epoch.png)" in page
    assert "The paper budget: no runs" not in page
    for link in ("curves.svg", "curves-cifar-10-jpeg-copy-cpu-budget-1-epoch.svg"):
        assert (tmp_path / "r" / link).exists()


def test_nothing_finished_yet(info: ExperimentInfo, make_run: Callable[..., Path], tmp_path: Path) -> None:
    shown = update_results(info, [make_run("idinit", [0.1, 0.5], state="running")], tmp_path / "r")
    assert printed(shown) == "cifar10-resnet56: no finished runs yet"
    assert not (tmp_path / "r").exists()


def test_variants_without_any_run_are_named(info: ExperimentInfo, make_run: Callable[..., Path], tmp_path: Path) -> None:
    planned = info.model_copy(update={"variants": ("idinit", "xavier", "fixup")})
    update_results(planned, [make_run("idinit", [0.1, 0.4])], tmp_path / "r")
    assert "- No runs at all: xavier, fixup." in (tmp_path / "r" / "README.md").read_text(encoding="utf-8")


def test_tuning_runs_alone_make_a_page_without_results(
    info: ExperimentInfo, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    update_results(info, [make_run("idinit", [0.1, 0.4], phase="tune")], tmp_path / "r")
    page = (tmp_path / "r" / "README.md").read_text(encoding="utf-8")
    assert "## Results" not in page and "- idinit: only search runs so far." in page


def test_a_claim_without_a_verdict_function_is_refused(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    wrong = info.model_copy(update={"claims": (info.claims[0].model_copy(update={"id": "C99"}),)})
    with pytest.raises(UsageError, match="'C99'"):
        update_results(wrong, runs, tmp_path / "r")


def test_the_figure_shows_every_variant_in_both_formats(
    info: ExperimentInfo, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    names = [f"method{i:02d}" for i in range(24)]  # more than colours, and than colours with dashes
    runs = [make_run(name, [0.1, 0.2 + i / 40, 0.3 + i / 40]) for i, name in enumerate(names)]
    runs.append(make_run("exploding", [0.1, 0.2], state="diverged", epochs=2))
    update_results(info, runs, tmp_path / "r")
    svg = (tmp_path / "r" / "curves.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(svg)
    drawn = [line[line.index("<!-- ") + 5 : line.index(" -->")] for line in svg.splitlines() if "<!-- " in line]
    legend = [text.split("  ")[0].split(" ")[0] for text in drawn if text.startswith(("method", "exploding"))]
    assert legend == [*reversed(names), "exploding"]  # in the order of the table
    assert {"epoch", "train loss", "validation accuracy", "a run diverged"} <= set(drawn)
    assert "CIFAR-10 (JPEG copy), cpu budget, 2 epochs" in svg
    pixels = matplotlib.image.imread(tmp_path / "r" / "curves.png")
    assert pixels.shape[1] == 1760 and np.allclose(pixels[0, 0, :3], 1)  # on white


@pytest.mark.parametrize("count", [1, 13, 30])
def test_the_legend_fits_on_the_figure(count: int, make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run(f"method{i:02d}", [0.1, 0.5], state="diverged", epochs=2) for i in range(count)], tmp_path / "r")
    archive = load(tmp_path / "r")
    with mpl.rc_context(_STYLE):
        figure = draw_curves("title\nscale", list_variants(archive, scales(archive)[0]))
        figure.canvas.draw()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == count + 1  # the variants and the cross
    box = legend.get_window_extent()
    assert figure.bbox.contains(box.x0, box.y0) and figure.bbox.contains(box.x1, box.y1)


@pytest.mark.parametrize(("count", "bands"), [(8, 8), (9, 0)])
def test_bands_are_drawn_where_they_can_be_told_apart(
    count: int, bands: int, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    runs = [make_run(f"method{i}", [0.1, 0.5 + seed / 10], seed=seed) for i in range(count) for seed in range(3)]
    merge(runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    figure = draw_curves("title\nscale", list_variants(archive, scales(archive)[0]))
    assert [len(axes.collections) for axes in figure.axes] == [bands, bands]


def test_the_axis_of_accuracies_ends_where_they_do(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("idinit", [0.1 + seed / 3, 0.3 + seed / 3], seed=seed) for seed in range(3)], tmp_path / "r")
    archive = load(tmp_path / "r")
    _, score = draw_curves("title\nscale", list_variants(archive, scales(archive)[0])).axes
    band = score.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.1, 0.3 + 2 / 3)), "Student's interval of three runs is far wider"
    assert score.get_ylim()[1] == 1


def test_each_model_has_its_own_axes_where_an_initializer_always_looks_the_same(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    finals = {"textcnn-default": 0.9, "textcnn-idinit": 0.8, "textrnn-default": 0.6, "textrnn-idinit": 0.7}
    merge([make_run(variant, [0.1, end], model=variant.split("-")[0]) for variant, end in finals.items()], tmp_path / "r")
    archive = load(tmp_path / "r")
    figure = draw_curves("title\nscale", list_variants(archive, scales(archive)[0]))
    ends = [{line.get_color(): line.get_ydata()[-1] for line in axes.lines} for axes in figure.axes[1::2]]
    default, idinit = (line_style(index)["color"] for index in range(2))
    assert ends == [{default: 0.9, idinit: 0.8}, {default: 0.6, idinit: 0.7}]
    legends = [[text.get_text().split("  ")[0] for text in row.legends[0].get_texts()] for row in figure.subfigs]
    assert legends == [["textcnn-default", "textcnn-idinit"], ["textrnn-idinit", "textrnn-default"]]  # best first


def test_lines_differ_in_more_than_colour() -> None:
    styles = [line_style(index) for index in range(21)]
    assert len({(s["color"], s["linestyle"]) for s in styles}) == 21
    assert len({(s["color"], s["marker"]) for s in styles}) == 21
    assert all(a["marker"] != b["marker"] for a, b in zip(styles, styles[1:], strict=False))


def test_a_loss_that_explodes_does_not_flatten_the_others(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run(name, [0.1, 0.5, 0.6]) for name in ("idinit", "fixup")]
    exploding = make_run("xavier", [0.1, 0.1], state="diverged", epochs=2)
    rows = [json.loads(line) for line in (exploding / "metrics.jsonl").read_text().splitlines()]
    rows = [row | {"loss": 1e30} if row["split"] == "train" else row for row in rows]
    (exploding / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    merge([*runs, exploding], tmp_path / "r")
    archive = load(tmp_path / "r")
    low, high = loss_limits(list_variants(archive, scales(archive)[0]))
    assert low == pytest.approx(0.9 * (2.3 - 2 * 0.6))
    assert high == pytest.approx(1.15 * (2.3 - 2 * 0.2))  # the first train row of the variants that train


def test_results_never_go_under_the_head_of_another_experiment(
    info: ExperimentInfo, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    update_results(info, [make_run("idinit", [0.1, 0.5])], tmp_path / "r")
    before = {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()}
    other = info.model_copy(update={"name": "demo", "title": "Another"})
    for runs in ([], [make_run("idinit", [0.1, 0.5])]):
        with pytest.raises(UsageError, match="'demo'.*cifar10-resnet56"):
            update_results(other, runs, tmp_path / "r")
    with pytest.raises(UsageError, match="cannot go to"):
        update_results(other, [make_run("idinit", [0.1, 0.5])], tmp_path / "new")
    assert {path.name: path.read_bytes() for path in (tmp_path / "r").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_bars_and_suggestions_keep_to_80_columns(info: ExperimentInfo, runs: list[Path], tmp_path: Path) -> None:
    update_results(info, runs, tmp_path / "r")
    archive = load(tmp_path / "r")
    shown = [one for one in list_variants(archive, scales(archive)[0]) if one.is_best_recipe]
    assert len(lines_of(sparklines(shown))) == 1 + len(shown), "the title is a line of its own"
    suggestions = [line for name in ("demo", "demo-text") for line in load_experiment([f"experiment={name}"]).info.next]
    assert len(suggestions) == 6 and max(map(len, suggestions)) <= 78  # below them two spaces
