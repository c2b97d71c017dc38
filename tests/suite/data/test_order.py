from pathlib import Path

import pytest
import torch

from idinit.errors import UsageError
from idinit_suite.data import DataContext
from idinit_suite.data.order import EpochOrder


def test_every_example_comes_once_an_epoch_in_a_new_order() -> None:
    order = EpochOrder(12, 4, DataContext(Path(), seed=0))
    epochs = [torch.cat([order.batch(step) for step in range(3 * epoch, 3 * epoch + 3)]) for epoch in range(2)]
    assert all(sorted(epoch.tolist()) == list(range(12)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    lengths = torch.arange(103) % 17
    for given in (None, lengths):
        forwards = [EpochOrder(103, 5, DataContext(Path(), seed=3), lengths=given).batch(step) for step in range(45)]
        order = EpochOrder(103, 5, DataContext(Path(), seed=3), lengths=given)
        for step in (44, 7, 21, 0):
            assert torch.equal(order.batch(step), forwards[step])
        assert not torch.equal(EpochOrder(103, 5, DataContext(Path(), seed=4), lengths=given).batch(0), forwards[0])


def test_batches_of_about_the_same_length_hold_every_example_once() -> None:
    lengths = torch.randint(1, 60, (1000,), generator=torch.Generator().manual_seed(0))
    order = EpochOrder(1000, 10, DataContext(Path(), seed=0), lengths=lengths)
    batches = [order.batch(step) for step in range(order.steps_per_epoch)]
    assert sorted(torch.cat(batches).tolist()) == list(range(1000))
    padded = sum(10 * int(lengths[rows].max()) for rows in batches)
    assert padded < 1.1 * int(lengths.sum())  # at random it is about 1.8 times
    first = torch.stack([lengths[rows].float().mean() for rows in batches])
    assert first[:20].std() > 10  # the batches come in no order of length


def test_what_does_not_fill_a_batch_is_left_out() -> None:
    order = EpochOrder(11, 4, DataContext(Path(), seed=0), lengths=torch.ones(11))
    assert order.steps_per_epoch == 2
    assert len(set(torch.cat([order.batch(0), order.batch(1)]).tolist())) == 8


def test_processes_share_a_batch() -> None:
    shares = [EpochOrder(12, 6, DataContext(Path(), seed=0, world_size=3, rank=rank)).local_batch(1) for rank in range(3)]
    assert torch.equal(torch.cat(shares), EpochOrder(12, 6, DataContext(Path(), seed=0)).batch(1))


def test_batches_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.batch_size=13 .* 12 texts"):
        EpochOrder(12, 13, DataContext(Path(), seed=0), noun="texts")
    with pytest.raises(UsageError, match=r"data\.batch_size=5 .* 2 processes"):
        EpochOrder(12, 5, DataContext(Path(), seed=0, world_size=2))
