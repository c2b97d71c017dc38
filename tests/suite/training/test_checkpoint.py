import errno
import logging
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from idinit_suite.optim.optimizers import OPTIMIZERS
from idinit_suite.training import checkpoint


def state(value: float) -> dict[str, object]:
    return {"weights": {"w": torch.full((3,), value)}, "step": int(value), "names": ["a", "b"]}


def test_the_newest_comes_back_whole(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 9, state(9))
    checkpoint.save(tmp_path, 10, state(10))
    loaded = checkpoint.load_latest(tmp_path)
    assert loaded is not None
    assert torch.equal(loaded["weights"]["w"], torch.full((3,), 10.0))
    assert (loaded["step"], loaded["names"]) == (10, ["a", "b"])


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    paths = [checkpoint.save(tmp_path, step, state(step)) for step in (1, 2, 3)]
    assert sorted(tmp_path.iterdir()) == sorted(paths[1:])


def test_none_where_nothing_was_saved(tmp_path: Path) -> None:
    assert checkpoint.load_latest(tmp_path / "missing") is None


@pytest.mark.parametrize("damage", ["cut", "altered", "emptied"])
def test_a_damaged_file_falls_back_to_the_previous_and_says_so(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    newest = checkpoint.save(tmp_path, 2, state(2))
    content = bytearray(newest.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "altered":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray()
    newest.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        loaded = checkpoint.load_latest(tmp_path)
    assert loaded is not None and loaded["step"] == 1
    assert newest.name in caplog.text and "previous" in caplog.text


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = checkpoint.save(tmp_path, 1, state(1))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, 2, state(2))
    assert list(tmp_path.iterdir()) == [kept]


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "evil"),))

    checkpoint.save(tmp_path, 1, {"payload": Evil()})
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoint.load_latest(tmp_path)
    assert not (tmp_path / "evil").exists()


def test_damaged_files_of_later_steps_do_not_push_out_what_was_just_saved(tmp_path: Path) -> None:
    for step in (200, 400):
        checkpoint.save(tmp_path, step, state(step)).write_bytes(b"damaged")
    saved = checkpoint.save(tmp_path, 73, state(73))
    assert list(tmp_path.iterdir()) == [saved]
    loaded = checkpoint.load_latest(tmp_path)
    assert loaded is not None and loaded["step"] == 73


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_a_state_that_was_loaded_is_saved_as_the_same_bytes(optimizer: str, tmp_path: Path) -> None:
    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
        return model, OPTIMIZERS[optimizer].build(model)

    def saved(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> Path:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rows": "".join(["a", "b"])}
        return checkpoint.save(folder, 1, state)

    model, before = made()
    model(torch.ones(2, 3)).square().sum().backward()
    before.step()
    first = saved(model, before, tmp_path / "first")
    state = checkpoint.load_latest(tmp_path / "first")
    assert state is not None
    again, after = made()
    again.load_state_dict(state["model"])
    after.load_state_dict(state["optimizer"])
    second = saved(again, after, tmp_path / "second")
    assert second.name == first.name and second.read_bytes() == first.read_bytes()
