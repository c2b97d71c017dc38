from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import vl_convert
from markupsafe import Markup
from matplotlib.figure import Figure
from scipy import stats

from idinit_suite.archive.runs import load, merge
from idinit_suite.archive.variants import list_variants, scales
from idinit_suite.config.experiment import ExperimentInfo, list_claims
from idinit_suite.report.blocks import Picture
from idinit_suite.report.grid_page import grid_page
from idinit_suite.report.html.card_plots import interval_plot, lines_plot
from idinit_suite.report.html.charts import curves_chart, layers_chart, looks, map_chart
from idinit_suite.report.html.render import _unbroken, report_page
from idinit_suite.report.html.series import curves
from idinit_suite.report.outcomes import Headline, Verdict
from idinit_suite.report.page import Page, Section

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture
def pages(make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path) -> list[Page]:
    """A grid with two rates and a diverged run, and a study with one picture."""
    runs = [make_run("idinit", [0.1, 0.5, 0.6 + seed / 100], lr=lr, seed=seed) for lr in (0.1, 0.3) for seed in range(2)]
    runs += [make_run("kaiming", [0.1, 0.2, 0.3]), make_run("fixup", [0.1, 0.6, 0.9])]
    runs += [make_run("xavier", [0.1, 0.1], state="diverged", epochs=2)]
    merge(runs, tmp_path / "r")
    (tmp_path / "theory-rank").mkdir()
    (tmp_path / "theory-rank" / "rank.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
        '<path d="M 1.234567 2.5 L 7.654321 4" transform="scale(0.015625)"/><use x="3.14159" y="2" width="1.25"/></svg>'
    )
    study = info.model_copy(update={"name": "theory-rank", "claims": list_claims()[10:11]})
    verdict = Verdict("C11", "reproduced", "ranks.", Headline("9 against 5", "ranks", n=3))
    section = Section("cpu budget", "cpu", [verdict], [Picture("rank", "Ranks", Figure)], frozenset())
    return [grid_page(info, load(tmp_path / "r"), tmp_path / "r"), Page(study, "nothing", [section])]


@pytest.fixture
def page(pages: list[Page], tmp_path: Path) -> Path:
    """The report of these."""
    file = tmp_path / "report.html"
    file.write_text(report_page(pages, tmp_path), encoding="utf-8")
    return file


def in_the_browser(page: Path, script: str, tmp_path: Path, *more: str) -> dict[str, object]:
    """What a script in the page says: it runs when the page is ready, and ends with ``return``."""
    probe = f"""<script type="module">
      const until = async (done) => {{ while (!done()) await new Promise((next) => setTimeout(next, 20)); }};
      const all = (selector, root = document) => [...root.querySelectorAll(selector)];
      const change = (control, value) => {{
        if (control.type === "checkbox") control.checked = value; else control.value = value;
        control.dispatchEvent(new Event("change", {{ bubbles: true }}));
      }};
      await until(() => document.body.dataset.ready);
      const said = await (async () => {{ {script} }})();
      const out = document.createElement("output");
      out.id = "said";
      out.textContent = JSON.stringify(said);
      document.body.append(out);
    </script></body>"""
    probed = tmp_path / "probed.html"
    before, _, after = page.read_text(encoding="utf-8").rpartition("</body>")
    probed.write_text(before + probe + after, encoding="utf-8")
    assert BROWSER is not None
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=20000",
    ]
    done = subprocess.run(
        [BROWSER, *flags, *more, "--dump-dom", probed.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    answer = re.search(r'<output id="said">(.*?)</output>', done.stdout, re.DOTALL)
    assert answer is not None, "the page or the script failed"
    return json.loads(answer[1].replace("&quot;", '"').replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


@in_browser
def test_the_page_opens_with_a_card_for_each_claim_and_draws_the_first_experiment(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        """
        const legend = all("#headline .mark-text.role-legend-label text").map((one) => one.textContent);
        const axis = all("#headline .role-axis-title text").map((one) => one.textContent);
        const card = document.getElementById("C11");
        const figure = (card) => card.querySelector(".figure").textContent;
        return { cards: all(".card").length, figure: figure(card), outcome: card.dataset.outcome, legend, axis };
        """,
        tmp_path,
    )
    assert (said["cards"], said["figure"], said["outcome"]) == (15, "9 against 5", "reproduced")
    assert sorted(said["legend"]) == ["fixup", "idinit", "kaiming", "xavier"]
    assert said["axis"] == ["epoch", "validation accuracy"]


@in_browser
def test_the_switch_shows_the_claims_of_one_verdict(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        """
        document.querySelector(".switch button[value=reproduced]").click();
        const shown = all(".card").filter((card) => !card.hidden).map((card) => card.id);
        document.querySelector(".switch button[value='']").click();
        return { shown, again: all(".card").filter((card) => !card.hidden).length };
        """,
        tmp_path,
    )
    assert said == {"shown": ["C2", "C11"], "again": 15} or said == {"shown": ["C11"], "again": 15}


@in_browser
def test_the_comparison_switches_initializers_splits_axes_and_scale(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        """
        const legend = () => all("#compare .mark-text.role-legend-label text").map((one) => one.textContent);
        const titles = () => all("#compare .role-axis-title text").map((one) => one.textContent);
        change(document.querySelector("#compare input[value=idinit]"), false);
        await until(() => legend().length && !legend().includes("idinit"));
        const without = legend();
        change(document.querySelector("[name=metric]"), "loss");
        change(document.querySelector("[name=split]"), "train");
        change(document.querySelector("[name=log]"), true);
        change(document.querySelector("[name=x]"), "step");
        await until(() => titles().includes("step"));
        const loss = titles();
        change(document.querySelector("[name=x]"), "time");
        await until(() => titles().includes("time in minutes"));
        change(document.querySelector("[name=x]"), "flops");
        await until(() => titles().includes("FLOPs"));
        document.querySelector("#compare button[value=all]").click();
        change(document.querySelector("[name=recipes]"), true);
        await until(() => legend().length === 4);  // xavier diverged before its first row
        return { without, loss, recipes: legend() };
        """,
        tmp_path,
    )
    assert sorted(said["without"]) == ["fixup", "kaiming", "xavier"]
    assert said["loss"] == ["step", "train loss"]
    assert any("optim.lr" in label for label in said["recipes"])


@in_browser
def test_tables_sort_by_value_and_what_has_none_comes_last(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        """
        const table = document.querySelector("table.sortable");
        const names = () => all("tbody tr", table).map((row) => row.cells[0].textContent.split(" ")[0]);
        const button = all("thead button", table)[3];
        button.click();
        const rising = names(), sorted = all("th", table)[3].getAttribute("aria-sort");
        button.click();
        return { rising, falling: names(), sorted };
        """,
        tmp_path,
    )
    assert said["rising"][0] == "kaiming" and said["falling"][0] == "fixup"
    assert said["rising"][-1] == said["falling"][-1] == "xavier" and said["sorted"] == "ascending"


@in_browser
def test_everything_can_be_reached_by_keyboard_and_has_a_name(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        """
        const controls = all("a[href], button, select, input, summary, .scroll");
        const unreachable = controls.filter((one) => one.offsetParent && one.tabIndex < 0).map((one) => one.outerHTML);
        const named = (one) => one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim();
        const nameless = controls.filter((one) => !named(one)).map((one) => one.outerHTML);
        return { count: controls.length, unreachable, nameless };
        """,
        tmp_path,
    )
    assert said["count"] > 20 and said["unreachable"] == [] and said["nameless"] == []


@in_browser
def test_a_print_has_what_is_folded_on_the_screen(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        """
        await until(() => document.body.dataset.whole);
        const open = () => all("main details").filter((one) => !one.closest(".vega-embed")).map((one) => one.open);
        const before = open();
        window.dispatchEvent(new Event("beforeprint"));
        const printed = open();
        window.dispatchEvent(new Event("afterprint"));
        const charts = all(".chart").map((chart) => Boolean(chart.querySelector("svg")));
        return { before, printed, after: open(), charts };
        """,
        tmp_path,
    )
    assert not all(said["before"]) and all(said["printed"]) and said["after"] == said["before"]
    assert said["charts"] and all(said["charts"])


@in_browser
def test_a_phone_scrolls_in_one_direction_only(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        "return { inside: innerWidth, across: document.documentElement.scrollWidth };",
        tmp_path,
        "--window-size=500,900",  # the narrowest that a headless browser takes; the phone's layout begins at 640
    )
    assert said["across"] <= said["inside"] <= 500


class Outside(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
        self.found += [value or "" for name, value in attrs if loads.get(tag) == name and not (value or "").startswith("data:")]


def test_places_in_pictures_are_rounded_and_nothing_else(page: Path) -> None:
    (packed,) = re.findall(r'data-packed="(.*?)"', page.read_text())
    picture = gzip.decompress(base64.b64decode(packed)).decode()
    assert re.findall(r' (?:d|transform)="(.*?)"', picture) == ["M 1.2 2.5 L 7.7 4", "scale(0.015625)"]
    assert re.findall(r' (?:x|y|width)="(.*?)"', picture)[-3:] == ["3.1", "2", "1.25"]


@in_browser
def test_the_pictures_of_a_study_are_unpacked(page: Path, tmp_path: Path) -> None:
    said = in_the_browser(
        page,
        """
        const image = document.querySelector("img[alt='Ranks']");
        await until(() => document.body.dataset.whole);
        return { packed: "packed" in image.dataset, width: image.naturalWidth, height: image.naturalHeight };
        """,
        tmp_path,
    )
    assert said == {"packed": False, "width": 9, "height": 9}


@in_browser
def test_the_layers_of_a_run_are_drawn_when_they_are_unfolded(
    make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    run = make_run("idinit", [0.1, 0.5])
    with (run / "metrics.jsonl").open("a") as file:
        for step, gradient in ((0, 1.0), (8, None)):
            values = {"weight_norm": {"a": 1.0, "b": 2.0}, "gradient_norm": {"a": 0.0, "b": gradient}}
            shares = {"branch_ratio": {}, "dead_units": {"a": 0.5, "b": 0.0}}
            file.write(json.dumps({"step": step, "split": "layers", **values, **shares}) + "\n")
    merge([run], tmp_path / "r")
    page = tmp_path / "report.html"
    page.write_text(report_page([grid_page(info, load(tmp_path / "r"), tmp_path / "r")], tmp_path), encoding="utf-8")
    script = """
      const chart = document.querySelector('[data-kind="layers"]');
      chart.closest("details").open = true;
      await until(() => chart.querySelector(".mark-rect path"));
      const fills = all(".mark-rect path", chart).map((cell) => cell.getAttribute("fill").toLowerCase());
      const cells = fills.filter((fill) => !fill.startsWith("url"));  // those are the scales
      return { cells, texts: all("text", chart).map((text) => text.textContent) };"""
    said = in_the_browser(page, script, tmp_path)
    assert len(said["cells"]) == 3 * 4, "of the three statistics that were measured, two layers at two steps"
    assert said["cells"].count("#d55e00") == 2 and said["cells"].count("#ffffff") == 1
    assert {"idinit, seed 0, done", "weight norm", "gradient norm", "dead units", "a", "b", "8"} <= set(said["texts"])
    assert "branch output / input" not in said["texts"]


def test_the_page_loads_nothing_from_elsewhere(page: Path) -> None:
    outside = Outside()
    outside.feed(page.read_text(encoding="utf-8"))
    assert outside.found == []
    assert "@import" not in page.read_text(encoding="utf-8").split("</style>")[0]


def test_curves_are_means_with_student_intervals_of_completed_runs(make_run: Callable[..., Path], tmp_path: Path) -> None:
    runs = [make_run("idinit", [0.1, 0.5, final], seed=seed, time_s=120) for seed, final in enumerate([0.6, 0.7, 0.74])]
    merge([*runs, make_run("idinit", [0.1], state="diverged", epochs=2, seed=3)], tmp_path / "r")
    archive = load(tmp_path / "r")
    (variant,) = curves(list_variants(archive, scales(archive)[0]))
    low, high = stats.t.interval(0.95, 2, loc=0.68, scale=stats.sem([0.6, 0.7, 0.74]))
    series = variant["splits"]["validation"]
    assert series["epoch"] == [0.0, 1.0, 2.0]
    assert [values[-1] for values in series["accuracy"]] == pytest.approx([0.68, low, high], rel=1e-3)
    assert [values[1] for values in series["accuracy"]] == [0.5, 0.5, 0.5]
    assert (variant["steps"], variant["own"], variant["runs"]) == (100, True, 4)
    assert variant["seconds"] == pytest.approx((3 * 60 + 240) / 4)
    ended = [run for run in variant["diverged"] if run["split"] == "train"]
    assert [run["epoch"] for run in ended] == [[0.5]] and ended[0]["loss"] == [None]
    evaluated = [run for run in variant["diverged"] if run["split"] == "validation"]
    assert [(run["epoch"], run["end"]) for run in evaluated] == [([0.0], 0.5)]  # it diverged behind its last evaluation


def test_a_page_without_a_config_links_to_none(pages: list[Page], tmp_path: Path) -> None:
    """That of the coverage is no experiment."""
    shutil.copytree(tmp_path / "theory-rank", tmp_path / "coverage")
    coverage = replace(pages[1], info=pages[1].info.model_copy(update={"name": "coverage"}))
    text = report_page([*pages, coverage], tmp_path)
    assert re.findall(r'href="\.\./configs/experiment/([\w-]+)\.yaml"', text) == [one.info.name for one in pages]


def test_variants_of_several_models_have_a_table_each(
    make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    merge(
        [make_run(variant, [0.1, 0.5]) for variant in ("cnn-default", "cnn-idinit", "rnn-default", "rnn-idinit")],
        tmp_path / "r",
    )
    head = info.model_copy(update={"baseline": "default", "claims": ()})
    page = report_page([grid_page(head, load(tmp_path / "r"), tmp_path / "r")], tmp_path)
    assert re.findall('aria-label="(Against .+?)"', page) == ["Against cnn-default", "Against rnn-default"]


def test_a_table_against_the_baseline_has_its_columns_and_its_sentence(
    make_run: Callable[..., Path], info: ExperimentInfo, tmp_path: Path
) -> None:
    finals = {"default": (0.5, 0.6, 0.7), "idinit": (0.6, 0.7, 0.81)}
    merge(
        [make_run(variant, [0.1, final], seed=seed) for variant in finals for seed, final in enumerate(finals[variant])],
        tmp_path / "r",
    )
    head = info.model_copy(update={"baseline": "default", "claims": ()})
    page = report_page([grid_page(head, load(tmp_path / "r"), tmp_path / "r")], tmp_path)
    against = page.split('aria-label="Against default"')[1]
    table = against.split("</table>")[0]
    assert [len(re.findall("<t[hd][ >]", row)) for row in table.split("<tr")[1:]] == [6, 6, 6]
    assert ": above it <code>idinit</code>; below it none.</p>" in against


def test_a_band_beyond_what_is_possible_gives_way_to_the_range(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("idinit", [0.1, final], seed=seed) for seed, final in enumerate([0.2, 0.9, 1.0])], tmp_path / "r")
    archive = load(tmp_path / "r")
    (variant,) = curves(list_variants(archive, scales(archive)[0]))
    assert [values[-1] for values in variant["splits"]["validation"]["accuracy"]] == pytest.approx([0.7, 0.2, 1.0])


def test_one_run_has_a_mean_and_no_interval(make_run: Callable[..., Path], tmp_path: Path) -> None:
    merge([make_run("idinit", [0.1, 0.5])], tmp_path / "r")
    archive = load(tmp_path / "r")
    (variant,) = curves(list_variants(archive, scales(archive)[0]))
    assert variant["splits"]["test"]["accuracy"] == [[0.1, 0.5], [None, None], [None, None]]


CHARTS = {"curves": curves_chart(), "map": map_chart("learning rate", "weight decay"), "layers": layers_chart()}


@pytest.mark.parametrize("spec", CHARTS.values(), ids=CHARTS)
def test_charts_are_valid_vega_lite(spec: dict[str, object]) -> None:
    assert vl_convert.vegalite_to_vega(json.dumps(spec))["marks"]


def test_looks_differ_in_more_than_colour() -> None:
    found = looks(21)
    assert len({(one["colour"], tuple(one["dash"])) for one in found}) == 21
    assert len({(one["colour"], one["shape"]) for one in found}) == 21


def test_equal_runs_give_an_equal_page(pages: list[Page], tmp_path: Path) -> None:
    assert report_page(pages, tmp_path) == report_page(pages, tmp_path)


def test_the_small_plots_of_cards_are_to_scale() -> None:
    assert interval_plot((1.0, 2.0, 4.0)) == {"low": 27.0, "value": 50.0, "high": 96.0, "zero": 4.0}
    assert lines_plot({"idinit": [(0, 0), (2, 1)], "kaiming": [(1, 0.5)]}) == {
        "idinit": "4.0,28.0 96.0,2.0",
        "kaiming": "50.0,15.0",
    }


@pytest.mark.parametrize(
    "text, held",
    [
        ("64 % against 2.1 %", "64\u00a0% against 2.1\u00a0%"),
        ("47.1 ± 6.3 % in 2 epochs", "47.1\u00a0±\u00a06.3\u00a0% in 2 epochs"),
        ("a % b", "a % b"),
    ],
)
def test_a_number_keeps_its_unit_and_its_interval_on_its_line(text: str, held: str) -> None:
    assert _unbroken(text) == held and type(_unbroken(Markup(text))) is Markup
