"""The check finds what is wrong with a network, a crash costs one row, and every family is on the list."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from idinit.errors import UsageError
from idinit_suite.coverage import check as checking
from idinit_suite.coverage.check import check
from idinit_suite.coverage.expert_labels import LABELS, labels_of
from idinit_suite.coverage.families import REASONS, TIMM, TORCHVISION, TRANSFORMERS, Case, list_cases
from idinit_suite.coverage.page import update_coverage_page
from idinit_suite.coverage.runner import checked, read_rows, run
from idinit_suite.coverage.verdict import judge_coverage

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """x + loudness * outer(relu(inner(x)))."""

    def __init__(self, loudness: float = 1.0) -> None:
        super().__init__()
        self.inner, self.outer, self.loudness = nn.Linear(8, 8), nn.Linear(8, 8), loudness

    def forward(self, x: Tensor) -> Tensor:
        return x + self.loudness * self.outer(self.inner(x).relu())


def test_a_network_that_is_as_it_should_be() -> None:
    row = check(nn.Sequential(nn.Linear(8, 8), Residual(), Residual(), nn.Linear(8, 2)), (X,))
    wanted = {"problems": "", "parameters": 12, "parts": 12, "unknown": "", "branches": 2, "late": 0, "dead": 0}
    assert {key: row[key] for key in wanted} == wanted
    assert row["weights"] == 5 * 64 + 16 + 5 * 8 + 2
    assert (row["alarms"], row["findings"]) == (0, "")
    assert 0 < float(row["largest"]) < 1e-4 and row["largest_before_norm"] == "0.0e+00"


def test_a_false_alarm_is_counted_and_shown(tmp_path: Path) -> None:
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(3)))
    for layer in list(model)[:2]:
        nn.init.zeros_(layer.weight)
    row = check(model, (X,))
    assert row["alarms"] == 1 and row["findings"].startswith(
        "zeros: Zeros in a row keep each other at zero: '0.weight', '1.weight'."
    )
    line = f'timm,a,a,timm,ok,6,1,6,,0,0,0,0,0,0,1,1,,1,"{row["findings"]}"\n'
    (tmp_path / "coverage.csv").write_text(ROWS.replace("problems\n", "problems,alarms,findings\n", 1) + line)
    update_coverage_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "| 1 of 1 |" in page and "| not examined |" in page and f"| timm:a | a | {row['findings']} |" in page


def test_labels_are_compared_with_an_experts(tmp_path: Path) -> None:
    row = check(nn.Sequential(nn.Linear(8, 8), Residual(), nn.Linear(8, 2)), (X,), "0.weight head; 2.weight head; * -")
    assert (row["labels"], row["labels_wrong"], row["mislabelled"]) == (2, 1, "0.weight is stem, not head")
    head = "problems,labels,labels_wrong,mislabelled\n"
    line = f"timm,a,a,timm,ok,6,1,6,,0,0,0,0,0,0,1,1,,2,1,{row['mislabelled'].replace(',', ';')}\n"
    (tmp_path / "coverage.csv").write_text(ROWS.replace("problems\n", head, 1) + line)
    update_coverage_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "| 0 of 1 |" in page and "| 1 of 2 |" in page and "| timm:a | a | 0.weight is stem; not head |" in page


def test_labels_are_looked_up_by_the_network() -> None:
    assert labels_of("hf:bert") == LABELS["hf:bert"] and labels_of("timm:test_vit") and labels_of("timm:coat") is None


def test_a_branch_that_is_not_silent() -> None:
    row = check(nn.Sequential(nn.Linear(8, 8), Residual(1e3), nn.Linear(8, 2)), (X,))
    assert row["problems"].startswith("1 of 1 branches are not silent: 1.outer.weight at ")


class Strange(nn.Module):
    """Has a parameter whose part cannot be told, one that is not used, and gradients of which some are never anything."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.power, self.unused = nn.Linear(8, 2), nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.abs() ** self.power)


def test_parameters_without_a_part_are_counted_by_reason() -> None:
    row = check(Strange(), (X,))
    assert (row["parameters"], row["parts"], row["problems"]) == (4, 2, "")
    assert row["unknown"] == "1 x its use by the operator pow is not recognized; 1 x takes no part in the forward pass"


class Twice(nn.Module):
    """Multiplies two layers: where both give zero, neither ever receives a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(x) + self.a(x) * self.b(x)


def test_dead_and_late_parameters_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def zero(model: nn.Module, names: tuple[str, ...]) -> dict[str, Any]:
        def initialize_(model: Twice, method: str, inputs: Any) -> Any:
            report = original(model, method, inputs)
            for name in names:
                nn.init.zeros_(model.get_parameter(name))
            return report

        monkeypatch.setattr(checking, "initialize_", initialize_)
        return check(model, (X,))

    original = checking.initialize_
    dead = zero(Twice(), ("a.weight", "b.weight"))
    assert (dead["late"], dead["dead"]) == (0, 2)
    assert "2 parameters receive no gradient: a.weight, b.weight" in dead["problems"]
    late = zero(nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 2, bias=False)), ("1.weight",))
    assert (late["late"], late["dead"], late["problems"]) == (1, 0, "")


class NotFinite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) / 0


def test_what_is_not_finite_and_what_does_not_run() -> None:
    assert check(NotFinite(), (X,))["problems"].startswith("the output is not finite; gradients are not finite: layer.")
    assert check(nn.Linear(3, 2), (X,))["problems"].startswith("parts: UsageError: the model does not run on example_inputs")


def test_every_family_of_timm_and_torchvision_is_checked() -> None:
    assert set(TIMM) == set(timm.list_modules())
    assert all(model in timm.list_models(module=family) for family, model in TIMM.items())
    names = torchvision.models.list_models(module=torchvision.models)
    modules = {name: torchvision.models.get_model_builder(name).__module__ for name in names}
    assert {modules[name] for name in TORCHVISION} == set(modules.values())
    assert len(set(TRANSFORMERS)) == len(TRANSFORMERS) >= 30
    assert len({case.name for case in list_cases()}) == len(TIMM) + len(TORCHVISION) + len(TRANSFORMERS)


class Dies(Case):
    """A network that takes its process with it."""

    def build(self) -> tuple[nn.Module, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_process_that_dies_costs_its_row_only() -> None:
    assert checked(Dies("timm", "none", "none")) == {"problems": "the process died (SIGKILL)"}


def test_a_network_that_cannot_be_built() -> None:
    assert checked(Case("timm", "none", "nonet"))["problems"].startswith("build: UsageError: timm has no network 'nonet'")


def test_rows_are_kept_and_checked_again_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "coverage" / "coverage.csv"
    rows = run(path, ["timm:resnet", "hf:clip"])
    assert list(rows) == ["timm:resnet", "hf:clip"] and read_rows(path) == rows
    assert rows["hf:clip"]["library"].startswith("transformers ") and rows["hf:clip"]["branches"] == "4"
    branches = rows["timm:resnet"]["branches"]
    text = path.read_text().replace("test_resnet", "marked").replace(f",0,{branches},", ",0,99,", 1)
    path.write_text(text)
    assert run(path, ["timm:resnet"])["timm:resnet"]["model"] == "marked"
    assert "before" not in (said := capsys.readouterr().out) and "--force" in said
    assert run(path, ["timm:resnet"], force=True)["timm:resnet"]["model"] == "test_resnet"
    assert f"{branches} branches, " in (said := capsys.readouterr().out) and "(before: 99 branches)" in said
    with pytest.raises(UsageError, match="'timm:resnt'.*'timm:resnet'"):
        run(path, ["timm:resnt"])


ROWS = """\
source,family,model,library,status,parameters,weights,parts,unknown,left_alone,branches,largest,largest_before_norm,late,dead,seconds,memory_mb,problems
timm,a,a_small,"timm 1.0, torch 2.0",ok,10,2000000,9,1 x not told,0,4,1.0e-06,2.0e-04,3,0,1.5,20,
timm,b,b_small,"timm 1.0, torch 2.0",failed,,,,,,,,,,,,,build: ValueError: a | b
hf,c,c,"transformers 5.0, torch 2.0",ok,4,1000,4,,0,0,0.0e+00,0.0e+00,0,0,0.5,1,
"""


def test_the_page(tmp_path: Path) -> None:
    (tmp_path / "coverage.csv").write_text(ROWS)
    update_coverage_page(tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "| timm | 2 | 1 | 50.0 % | 95 % | 0 |" in page
    assert "| transformers | 1 | 1 | 100.0 % | 95 % | 1 |" in page
    assert "| timm:b | b_small | build: ValueError: a \\| b | not known |" in page
    assert REASONS.keys() < {case.name for case in list_cases()}
    assert "| timm:a | 1 x not told |" in page
    assert "| a | a_small | 2.0 M | 10 | 9 | 4 | 1.0e-06 | 2.0e-04 | 3 |  | 1.5 | 20 |" in page
    assert "### torchvision" not in page
    assert "**C15: not run at this scale.** The paper: no number (text). Ours: cpu budget" in page
    assert "## Deviations from the paper" in page


@pytest.mark.parametrize(
    ("failed", "outcome"),
    [
        ({}, "applies, benefit not measured"),  # never reproduced: nothing was trained
        ({"timm": 10, "torchvision": 1}, "applies, benefit not measured"),
        ({"timm": 11}, "not reproduced"),  # not to half of the families of a library
    ],
)
def test_the_verdict_on_universality(failed: dict[str, int], outcome: str) -> None:
    rows = [
        {"source": source, "status": "failed" if number < failed.get(source, 0) else "ok"}
        for source in ("timm", "torchvision", "hf")
        for number in range(20)
    ]
    verdict = judge_coverage(rows)
    assert verdict is not None
    assert (verdict.claim, verdict.outcome) == ("C15", outcome)
    fine = [20 - failed.get(source, 0) for source in ("timm", "torchvision", "hf")]
    counts = f"{sum(fine)} of 60 families (timm {fine[0]} of 20, torchvision (classification) {fine[1]} of 20"
    assert counts in verdict.evidence


def test_there_is_no_verdict_without_a_check() -> None:
    assert judge_coverage([]) is None
