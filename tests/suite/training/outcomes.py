"""What a run came to, and whether two runs came to the same bits."""

from __future__ import annotations

from typing import Any

import torch

from idinit_suite.config import RunConfig
from idinit_suite.tracking.wandb_follower import LAYERS
from idinit_suite.training import checkpoint
from idinit_suite.training.run_folder import read_metrics


def outcome(run: RunConfig) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The final weights, their average, the optimizer state, and the metrics of the splits without what hangs on the clock."""
    state = checkpoint.load_latest(run.folder / "checkpoints")
    assert state is not None
    metrics = [row for row in read_metrics(run.folder / "metrics.jsonl") if row["split"] != LAYERS]
    rows = [{k: v for k, v in row.items() if k != "samples_per_s"} for row in metrics]
    return {key: state[key] for key in ("model", "average", "optimizer", "step") if key in state}, rows


def assert_same(one: Any, two: Any) -> None:
    """Equal to the bit, however nested."""
    assert type(one) is type(two)
    if isinstance(one, torch.Tensor):
        assert one.dtype == two.dtype and torch.equal(one, two)
    elif isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert one == two
