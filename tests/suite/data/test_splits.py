from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idinit.errors import UsageError
from idinit_suite.data import DATASETS, DataContext
from idinit_suite.data.splits import hold_out, split, stratified_order

LABELS = torch.arange(10).repeat(50)  # 500 examples, 50 of each class
UNEQUAL = torch.cat([torch.zeros(300), torch.ones(90), torch.full((10,), 2.0)]).long()


def test_the_parts_are_disjoint_and_complete() -> None:
    train, validation = split(LABELS, 120, seed=0)
    assert len(train) == 380 and len(validation) == 120
    assert sorted(torch.cat([train, validation]).tolist()) == list(range(500))


def test_classes_are_held_out_in_their_shares() -> None:
    train, validation = split(LABELS, 120, seed=0)
    assert torch.bincount(LABELS[validation]).tolist() == [12] * 10
    assert torch.bincount(LABELS[train]).tolist() == [38] * 10
    _, validation = split(UNEQUAL, 40, seed=0)
    assert torch.bincount(UNEQUAL[validation]).tolist() == [30, 9, 1]


@pytest.mark.parametrize("labels", [LABELS, UNEQUAL], ids=["equal", "unequal"])
def test_every_beginning_of_the_order_is_stratified(labels: torch.Tensor) -> None:
    chosen = labels[stratified_order(labels, seed=3)]
    counts = torch.nn.functional.one_hot(chosen).cumsum(0)
    expected = torch.arange(1, len(labels) + 1)[:, None] * torch.bincount(labels) / len(labels)
    assert (counts - expected).abs().max() <= 1.5


def test_a_limited_training_set_is_stratified_too() -> None:
    train, _ = split(LABELS, 120, seed=0)
    assert torch.bincount(LABELS[train[:100]]).tolist() == [10] * 10


def test_the_split_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    first = split(LABELS, 120, seed=0)
    torch.manual_seed(2)
    again, other = split(LABELS, 120, seed=0), split(LABELS, 120, seed=1)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert set(first[1].tolist()) != set(other[1].tolist())


def test_nothing_need_be_held_out() -> None:
    train, validation = split(LABELS, 0, seed=0)
    assert len(train) == 500 and len(validation) == 0


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.validation=500 .* 500"):
        split(LABELS, 500, seed=0)
    with pytest.raises(UsageError, match=r"data\.test=50, data\.validation=1000 .* 500"):
        hold_out(LABELS, (), 1000, None, seed=0)


@pytest.mark.parametrize("name", ["digits", "opinions"])
def test_a_process_without_examples_has_no_empty_batch(name: str, tmp_path: Path) -> None:
    options = DATASETS.check(name, {"batch_size": 4, "validation": 1})
    both = [DATASETS[name].build(DataContext(tmp_path, 0, rank=rank, world_size=2), **options) for rank in range(2)]
    assert [[len(labels) for _, labels in data.evaluation_batches("validation")] for data in both] == [[1], []]
