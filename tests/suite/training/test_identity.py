"""A key of the config either changes a run's hash or leaves the trained weights alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from digits_runs import digits_run
from outcomes import assert_same, outcome

from idinit_suite.config import RunConfig, check, compose, hash_of, hash_of_stored
from idinit_suite.studies.config import hash_of_study
from idinit_suite.training.trainer import train

RESULTS = Path(__file__).parents[3] / "results"
SMALL = ["model.norm=batch", "init=default", "optim.lr=0.001", "data.train_limit=32", "train.epochs=2"]
# Another value for each key that is not in the hash.
NOT_HASHED = {
    "impl.device": "cpu",
    "impl.channels_last": "false",
    "impl.workers": "1",
    "impl.checkpoint_every": "1",
    "impl.check_every": "1",
    "impl.deterministic": "true",
    "impl.detect_anomaly": "true",
    "impl.profile": "true",
    "diagnostics.every": "1",
    "wandb.mode": "offline",
    "wandb.project": "other",
    "paths.results": "elsewhere",
    "budget": "smoke",
    "arm": "label",
}
# The number of threads settles the order in which the terms of a sum are added; where data and runs lie differs in any test.
ROUNDING = {"impl.threads": "2"}
PLACES = {"paths.data", "paths.runs"}
ELSEWHERE = {"impl.cuda_graphs", "impl.checkpoint_activations", "impl.fsdp"}  # tested with compiled networks, blocks, processes


def config(folder: Path, *overrides: str) -> RunConfig:
    return digits_run(SMALL, folder, *overrides)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else "other"


STORED = json.loads(config(Path("anywhere")).model_dump_json())
KEYS = [".".join(path) for path in leaves(STORED)]


def test_every_key_is_in_the_hash_or_in_a_list_of_this_test() -> None:
    def hashed(key: str) -> bool:
        other = copy.deepcopy(STORED)
        *parents, leaf = key.split(".")
        node = other
        for parent in parents:
            node = node[parent]
        node[leaf] = changed(node[leaf])
        return hash_of(other) != hash_of(STORED)

    assert {key for key in KEYS if not hashed(key)} == {*NOT_HASHED, *ROUNDING, *PLACES, *ELSEWHERE}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    run = config(tmp_path_factory.mktemp("identity"))
    train(run)
    return run


@pytest.mark.parametrize("key", NOT_HASHED)
def test_a_key_outside_the_hash_leaves_the_trained_bits_alone(key: str, trained: RunConfig, tmp_path: Path) -> None:
    other = config(tmp_path, f"{key}={NOT_HASHED[key]}")
    assert other.hash == trained.hash
    train(other)
    assert_same(list(outcome(other)), list(outcome(trained)))


@pytest.mark.parametrize("key", ROUNDING)
def test_threads_change_the_rounding_of_sums_alone(key: str, trained: RunConfig, tmp_path: Path) -> None:
    other = config(tmp_path, f"{key}={ROUNDING[key]}")
    train(other)
    (one, _), (two, _) = outcome(trained), outcome(other)
    for name, weight in one["model"].items():
        assert torch.allclose(weight, two["model"][name], rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize("key", ["train.precision=bf16", "train.compile=true"])
def test_what_changes_the_arithmetic_is_in_the_hash(key: str, trained: RunConfig, tmp_path: Path) -> None:
    assert config(tmp_path, key).hash != trained.hash


def test_the_number_of_processes_is_in_the_hash_where_it_changes_the_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["model=text_transformer", "data=opinions"]
    settings = {
        "sync": ([], True),
        "local": (["train.sync_batchnorm=false"], False),
        "dropout": ([*texts, "model.dropout=0.1"], False),
        "no dropout": ([*texts, "model.dropout=0"], True),
    }
    for name, (overrides, same) in settings.items():
        monkeypatch.setenv("WORLD_SIZE", "1")
        alone = check(compose(overrides))
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert (check(compose(overrides)).hash == alone.hash) is same, name


def test_an_option_that_is_null_renames_no_run() -> None:
    stored = copy.deepcopy(STORED)
    assert stored["train"].pop("clip_norm") is None
    assert hash_of_stored({**stored, "train": {**stored["train"], "clip_norm": None}}) == hash_of_stored(STORED)
    assert hash_of_stored({**stored, "train": {**stored["train"], "clip_norm": 1.0}}) != hash_of_stored(STORED)


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*/runs.csv")), ids=lambda file: file.parent.name)
def test_archived_runs_keep_their_names(file: Path) -> None:
    runs = pd.read_csv(file, dtype={"hash": str})
    options, hash_of = ("config", hash_of_stored) if "config" in runs else ("options", hash_of_study)
    assert [hash_of(json.loads(run)) for run in runs[options]] == runs["hash"].tolist()
