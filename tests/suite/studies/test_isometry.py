"""What is known of deep networks at initialization, measured by the study."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
import torch

from idinit.errors import UsageError
from idinit_suite.seeds import generator
from idinit_suite.studies.base import STUDIES, Row, Setting
from idinit_suite.studies.isometry.measure import summary
from idinit_suite.studies.tools.deep_networks import LAYERS, Activation, Deep, NetworkName

HERE = Setting(Path("data"), torch.device("cpu"))
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)


def table(rows: list[Row], name: str) -> pd.DataFrame:
    return pd.DataFrame([row.values for row in rows if row.table == name])


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """All networks of 12 layers with ReLU; tau on a perceptron of 4 layers; Lanczos iteration at width 32."""
    starts = ("idinit", "idinit_channel", "zero", "xavier", "orthogonal", "fixup")
    small = {"taus": (1.0, 2.0), "tau_depth": 4, "widths": (32,)}
    cells = STUDIES["isometry"].build(HERE, activations=("relu",), starts=starts, depths=(12,), **small)
    return [row for cell in cells for row in cell.measure()]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("activation", get_args(Activation))
def test_networks_have_the_depth_asked_for_and_keep_the_shape(name: NetworkName, activation: Activation) -> None:
    net = Deep(name, 12, activation).double()
    x = net.example(torch.Generator().manual_seed(0))
    assert len(net.blocks) * LAYERS[name] == 12
    assert net(x).shape == net.blocks(x).shape == x.shape and x.min() >= 0
    both = net.example(torch.Generator().manual_seed(0), "both")
    assert both.abs().equal(x)
    assert net.example(torch.Generator().manual_seed(0), "rectified").equal(both.relu())


@pytest.mark.parametrize(
    ("network", "start"),
    [
        ("mlp", "idinit"),
        ("mlp", "zero"),
        ("residual_mlp", "idinit"),
        ("residual_mlp", "fixup"),
        ("allconv", "idinit_channel"),
        ("allconv", "zero"),
        ("resnet", "idinit"),
        ("resnet", "fixup"),
        ("pre_norm", "idinit"),
    ],
)
def test_identities_and_silent_branches_are_isometries(rows: list[Row], network: str, start: str) -> None:
    own = table(rows, "spectra").set_index(["network", "start"]).loc[(network, start)]
    assert own["lowest"] == pytest.approx(1, abs=1e-3) and own["highest"] == pytest.approx(1, abs=1e-3)
    assert own["near"] == 1


def test_the_identity_by_patches_loses_directions_of_a_plain_convolutional_network(rows: list[Row]) -> None:
    own = table(rows, "spectra").set_index(["network", "start"])
    assert own.loc[("allconv", "idinit"), "near"] < 0.1
    assert own.loc[("mlp", "xavier"), "highest"] < 0.2 and own.loc[("mlp", "orthogonal"), "near"] < 0.5


@pytest.mark.parametrize("signs", ["both", "rectified"])
def test_a_relu_on_the_main_path_loses_what_is_not_positive_once(rows: list[Row], signs: str) -> None:
    own = table(rows, "inputs").set_index(["signs", "network", "start"])
    for network, start in (("mlp", "idinit"), ("mlp", "zero"), ("resnet", "idinit"), ("resnet", "fixup")):
        x = Deep(network, 12, "relu").example(generator(0, "input"), signs)  # type: ignore[arg-type]
        kept = (x > 0).double().mean().item()
        near = own.loc[(signs, network, start), "near"]
        if (signs, network, start) == ("rectified", "resnet", "idinit"):  # IDIZ lifts some of the zeros by eps: a slope again
            assert near > kept
        else:
            assert near == kept, "twelve layers lose no more than one"
        assert own.loc[("positive", network, start), "near"] == 1
    assert own.loc[(signs, "residual_mlp", "idinit"), "near"] == 1, "no ReLU follows the sum"
    assert own.loc[(signs, "pre_norm", "idinit"), "near"] == 1


def test_the_smallest_depth_must_be_one_for_all_activations() -> None:
    with pytest.raises(UsageError, match=r"depths=\[200\].*deepest_of_others=100"):
        list(STUDIES["isometry"].build(HERE, depths=(200,)))


def test_what_a_method_cannot_do_is_told(rows: list[Row]) -> None:
    skipped = table(rows, "skipped").set_index("network")
    assert set(skipped.index) == {"mlp", "allconv", "pre_norm", "post_norm"} and set(skipped["start"]) == {"fixup"}
    assert "residual branches" in skipped.loc["mlp", "reason"]


def test_tau_multiplies_every_singular_value_of_a_relu_network_by_its_power(rows: list[Row]) -> None:
    tau = table(rows, "tau").set_index(["signs", "tau"])
    assert tau.loc[("positive", 1.0), "mean_square"] == pytest.approx(1)
    assert tau.loc[("positive", 2.0), "lowest"] == pytest.approx(2**4)
    assert tau.loc[("both", 1.0), "lowest"] == 0, "a unit that starts negative is off"


def test_lanczos_agrees_with_the_whole_matrix(rows: list[Row]) -> None:
    lanczos = table(rows, "lanczos")
    assert len(lanczos) == 12 and (lanczos["value"] > 0).all()
    assert lanczos["relative_error"].max() < 1e-8


def test_signals_keep_their_size_where_singular_values_are_one(rows: list[Row]) -> None:
    signals = table(rows, "signals").set_index(["network", "start"])
    for column in ("activation_size", "gradient_size"):
        own = signals.loc[("residual_mlp", "idinit"), column]
        assert own.max() / own.min() < 1.01
        shrinking = signals.loc[("mlp", "xavier"), column]
        assert shrinking.max() / shrinking.min() > 30


def test_the_summary_of_values() -> None:
    found = summary(torch.tensor([4.0, 1.0, 0.5, 0.0]))
    assert (found["lowest"], found["highest"], found["near"], found["mean_square"]) == (0, 4, 0.5, 17.25 / 4)
    assert pd.isna(summary(torch.full((3,), torch.nan))["near"])
