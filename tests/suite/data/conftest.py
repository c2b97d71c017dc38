from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from idinit_suite.data.readers import Decoded


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the user of this machine has downloaded earlier is out of sight."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))


@pytest.fixture
def write_cifar10(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Decoded], None]:
    """Writes torchvision's layout of CIFAR-10; torchvision is told the MD5 sums of the tiny files."""
    from torchvision.datasets import CIFAR10

    def write(root: Path, content: Decoded) -> None:
        folder = root / CIFAR10.base_folder
        folder.mkdir(parents=True)

        def dump(name: str, entry: dict[str, object]) -> tuple[str, str]:
            data = pickle.dumps(entry, protocol=2)
            (folder / name).write_bytes(data)
            return name, hashlib.md5(data).hexdigest()

        def batch(split: str, rows: slice) -> dict[str, object]:
            images = content.images[split][rows].flatten(1).numpy()
            return {"data": images, "labels": content.labels[split][rows].tolist()}

        size = len(content.labels["train"]) // 5
        train = [dump(f"data_batch_{i + 1}", batch("train", slice(i * size, (i + 1) * size))) for i in range(5)]
        meta, md5 = dump("batches.meta", {"label_names": list(content.classes)})
        monkeypatch.setattr(CIFAR10, "train_list", train)
        monkeypatch.setattr(CIFAR10, "test_list", [dump("test_batch", batch("test", slice(None)))])
        monkeypatch.setattr(CIFAR10, "meta", {"filename": meta, "key": "label_names", "md5": md5})

    return write
