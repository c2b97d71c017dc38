from __future__ import annotations

import functools
import hashlib
import http.server
import io
import shutil
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from image_layouts import tiny, write_idx, write_parquet
from torchvision.datasets import CIFAR10

from idinit.errors import UsageError
from idinit_suite.data.downloads import nothing_downloaded, require_internet
from idinit_suite.data.images.datasets import IMAGE_SETS
from idinit_suite.data.locate import (
    NotHere,
    Parquet,
    attempt,
    cifar_folder,
    hub,
    idx_folder,
    parquet_folder,
    resolve,
    torchvision_download,
)
from idinit_suite.data.readers import Damaged, Decoded

TABLES = Parquet("uoft-cs/cifar10", "plain_text", "img", "label", channels=3)


def constant(value: int, channels: int = 3) -> Decoded:
    """Images of one value, to tell which source was read."""
    content = tiny(channels)
    images = {split: torch.full_like(images, value) for split, images in content.images.items()}
    return Decoded(images, content.labels, content.classes)


def value_read(name: str, root: Path) -> int:
    return int(resolve(name, IMAGE_SETS[name].places, root).read().images["train"][0, 0, 0, 0])


def write_hub_cache(repository: str, name: str, folder: str, content: Decoded, **columns: str) -> None:
    from huggingface_hub import constants

    base = Path(constants.HF_HUB_CACHE) / f"datasets--{repository.replace('/', '--')}"
    write_parquet(base / "snapshots" / ("0" * 40) / folder, content, **columns)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("0" * 40)


def test_cifar10_is_taken_from_the_first_place_that_has_it(tmp_path, write_cifar10) -> None:
    write_hub_cache("uoft-cs/cifar10", "cifar10", "plain_text", constant(3))
    assert value_read("cifar10", tmp_path) == 3
    write_parquet(tmp_path / "cifar10" / "plain_text", constant(2))
    assert value_read("cifar10", tmp_path) == 2
    write_cifar10(tmp_path, constant(1))
    assert value_read("cifar10", tmp_path) == 1


def test_cifar100_is_taken_with_its_fine_labels(tmp_path) -> None:
    content = tiny(train=200, test=100, num_classes=100)
    write_hub_cache("uoft-cs/cifar100", "cifar100", "cifar100", content, label="fine_label")
    found = resolve("cifar100", IMAGE_SETS["cifar100"].places, tmp_path).read()
    assert found.labels["train"].max() == 99
    write_parquet(tmp_path / "cifar100" / "cifar100", constant(2), label="fine_label")
    assert value_read("cifar100", tmp_path) == 2


@pytest.mark.parametrize("compress", [False, True])
def test_fashion_mnist_is_taken_from_the_first_place_that_has_it(tmp_path, compress) -> None:
    write_parquet(tmp_path / "fashion_mnist" / "fashion_mnist", constant(2, channels=1), image="image")
    assert value_read("fashion_mnist", tmp_path) == 2
    write_idx(tmp_path / "FashionMNIST" / "raw", constant(1, channels=1), compress)
    assert value_read("fashion_mnist", tmp_path) == 1


def test_fashion_mnist_in_the_system_folder_comes_after_the_data_root(tmp_path) -> None:
    tables = Parquet("zalando-datasets/fashion_mnist", "fashion_mnist", "image", "label", channels=1)
    write_idx(tmp_path / "system", constant(3, channels=1), compress=True)
    places = (parquet_folder("fashion_mnist", tables), idx_folder(str(tmp_path / "system"), "system folder", ()))
    root = tmp_path / "root"
    assert resolve("fashion_mnist", places, root).read().images["test"].unique().tolist() == [3]
    write_parquet(root / "fashion_mnist" / "fashion_mnist", constant(2, channels=1), image="image")
    assert resolve("fashion_mnist", places, root).read().images["test"].unique().tolist() == [2]


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_not_found_names_every_place_and_the_remedy(tmp_path, name) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError) as caught:
        resolve(name, IMAGE_SETS[name].places, tmp_path / "nowhere")
    assert time.monotonic() - start < 5
    message = str(caught.value)
    assert "\n" not in message
    folder = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    tables = {"cifar10": "cifar10/plain_text", "cifar100": "cifar100/cifar100"}[name]
    for part in (
        f"data set '{name}' was not found",
        f"(1) torchvision's layout: there is no folder {tmp_path / 'nowhere' / folder}",
        f"(2) Hugging Face parquet layout: there is no {tmp_path / 'nowhere' / tables}/train-*.parquet",
        "(3) download by torchvision: not tried, because HF_HUB_OFFLINE is set",
        f"(4) Hugging Face hub, uoft-cs/{name}: not tried, because HF_HUB_OFFLINE is set",
        "DATA=",
    ):
        assert part in message
    assert not (tmp_path / "nowhere").exists()


def test_fashion_mnist_also_looks_into_the_system_folder(tmp_path) -> None:
    reasons = []
    for place in IMAGE_SETS["fashion_mnist"].places:
        try:
            reasons.append(str(place(tmp_path).files[0]))  # on a machine with Debian's package
        except NotHere as reason:
            reasons.append(str(reason))
    assert "FashionMNIST/raw" in reasons[0]
    assert "parquet" in reasons[1]
    assert "/usr/share/datasets/fashion-mnist" in reasons[2]
    assert "download by torchvision" in reasons[3]
    assert "zalando-datasets/fashion_mnist" in reasons[4]


def test_a_table_without_its_partner_is_not_passed_over(tmp_path) -> None:
    write_parquet(tmp_path / "cifar10" / "plain_text", tiny())
    (tmp_path / "cifar10" / "plain_text" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(Damaged, match=r"test-\*\.parquet.*missing"):
        resolve("cifar10", IMAGE_SETS["cifar10"].places, tmp_path)


def test_an_idx_file_without_its_partner_is_not_passed_over(tmp_path) -> None:
    write_idx(tmp_path / "FashionMNIST" / "raw", tiny(channels=1, side=28), compress=False)
    (tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(Damaged, match=r"t10k-labels-idx1-ubyte.*missing"):
        resolve("fashion_mnist", IMAGE_SETS["fashion_mnist"].places, tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine with the files of ``tmp_path/web``."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    (tmp_path / "web").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torchvision unpacks without a filter (Python 3.12)
def test_a_download_ends_up_in_the_data_root(tmp_path, write_cifar10, server, monkeypatch) -> None:
    write_cifar10(tmp_path / "made", constant(7))
    archive = tmp_path / "web" / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "url", f"{server}/{archive.name}")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    root = tmp_path / "root"
    assert value_read("cifar10", root) == 7
    shutil.rmtree(tmp_path / "web")
    assert value_read("cifar10", root) == 7


def test_what_goes_wrong_in_a_download_is_told(tmp_path, server, monkeypatch) -> None:
    place = torchvision_download("CIFAR10", cifar_folder("CIFAR10", "cifar-10-batches-py"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(CIFAR10, "url", f"{server}/cifar-10-python.tar.gz")
    with pytest.raises(NotHere, match="torchvision: .*404"):
        place(tmp_path)
    (tmp_path / "web" / "cifar-10-python.tar.gz").write_bytes(b"cut short")
    with pytest.raises(NotHere, match="torchvision: .*corrupted"):
        place(tmp_path)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:1/cifar-10-python.tar.gz")  # nobody listens there
    with pytest.raises(NotHere, match="torchvision: .*refused"):
        place(tmp_path)


def test_downloads_can_be_switched_off(tmp_path, monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: asked.append(url) or io.BytesIO())
    with nothing_downloaded(), pytest.raises(UsageError, match="not tried, because"):
        resolve("cifar10", IMAGE_SETS["cifar10"].places, tmp_path)
    assert not asked
    require_internet("https://example.org")
    assert asked == ["https://example.org"]


def test_nothing_is_downloaded_into_a_read_only_root(tmp_path) -> None:
    tmp_path.chmod(0o555)
    place = torchvision_download("CIFAR10", cifar_folder("CIFAR10", "cifar-10-batches-py"))
    with pytest.raises(NotHere, match="torchvision: .*read-only"):
        place(tmp_path)


def test_the_hub_out_of_reach_is_told_within_seconds(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    start = time.monotonic()
    with pytest.raises(NotHere, match="uoft-cs/cifar10: .*refused"):
        hub(TABLES)(tmp_path)
    assert time.monotonic() - start < 5


def test_an_error_without_a_message_is_told_by_its_kind() -> None:
    with pytest.raises(NotHere, match=r"^somewhere: TimeoutError$"), attempt("somewhere"):
        raise TimeoutError
