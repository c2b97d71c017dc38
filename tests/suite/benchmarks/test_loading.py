from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idinit_suite.benchmarks.loading import OURS, measure, scaled_decoding
from idinit_suite.data.images.worker_transforms import Evaluation


def pictures(root: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / "sample" / "train" / name).mkdir(parents=True)
        for number in range(8):
            size = 64 if number % 2 else 512
            small = Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            small.resize((size, size), Image.Resampling.BICUBIC).save(root / "sample" / "train" / name / f"{number}.JPEG")
    return root


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # timm leaves the files open
def test_all_loaders_are_measured_in_each_round(tmp_path: Path) -> None:
    speeds = measure(pictures(tmp_path), "sample", 16, 4, 0, rounds=2, batches=2)
    assert list(speeds) == [OURS, "timm's create_loader", "timm's create_loader, no prefetcher"]
    assert all(len(values) == 2 and min(values) > 0 for values in speeds.values())


def test_only_large_pictures_are_decoded_at_a_fraction(tmp_path: Path) -> None:
    folder = pictures(tmp_path) / "sample" / "train"
    count, difference = scaled_decoding(folder, Evaluation(48))
    assert count == "8 of 16" and float(difference) < 3
    for path in folder.rglob("*[02468].JPEG"):
        path.unlink()
    assert scaled_decoding(folder, Evaluation(48)) == ("0 of 8", "none")
    shutil.rmtree(folder)
