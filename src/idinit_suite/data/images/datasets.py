"""The sets of images: what they are, and their locations in the order in which these are tried."""

from __future__ import annotations

from dataclasses import dataclass

from ..locate import Locator, Parquet, cifar_folder, hub, idx_folder, parquet_folder, scikit_learn, torchvision_download
from ..readers import Decoded


@dataclass(frozen=True)
class ImageSet:
    """A set of labelled images with a training and a test split.

    Attributes:
        title: Its usual name.
        channels: 3 for colour, 1 for grey.
        num_classes: Number of classes.
        places: Its possible locations.
        sizes: Images to train and to test, as published.
        validation: Images held out of the training split unless asked otherwise.
        flip: Whether a mirrored image is still of its class, and so a fair augmentation.
        side: Height and width of an image in pixels.
    """

    title: str
    channels: int
    num_classes: int
    places: tuple[Locator[Decoded], ...]
    sizes: tuple[int, int]
    validation: int = 5000
    flip: bool = True
    side: int = 32


def _cifar(name: str, dataset: str, folder: str, tables: Parquet) -> tuple[Locator[Decoded], ...]:
    here = cifar_folder(dataset, folder)
    return here, parquet_folder(name, tables), torchvision_download(dataset, here), hub(tables)


def _fashion_mnist() -> tuple[Locator[Decoded], ...]:
    classes = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    here = idx_folder("FashionMNIST/raw", "torchvision's layout", classes)
    # Where Debian's package dataset-fashion-mnist puts it.
    system = idx_folder("/usr/share/datasets/fashion-mnist", "system folder", classes)
    tables = Parquet("zalando-datasets/fashion_mnist", "fashion_mnist", "image", "label", channels=1)
    download = torchvision_download("FashionMNIST", here)
    return here, parquet_folder("fashion_mnist", tables), system, download, hub(tables)


IMAGE_SETS = {
    "digits": ImageSet("scikit-learn digits (32x32)", 1, 10, (scikit_learn(32),), (1437, 360), validation=180, flip=False),
    "digits16": ImageSet(
        "scikit-learn digits (16x16)", 1, 10, (scikit_learn(16),), (1437, 360), validation=180, flip=False, side=16
    ),
    "cifar10": ImageSet(
        "CIFAR-10",
        3,
        10,
        _cifar(
            "cifar10",
            "CIFAR10",
            "cifar-10-batches-py",
            Parquet("uoft-cs/cifar10", "plain_text", "img", "label", channels=3),
        ),
        (50_000, 10_000),
    ),
    "cifar100": ImageSet(
        "CIFAR-100",
        3,
        100,
        _cifar(
            "cifar100",
            "CIFAR100",
            "cifar-100-python",
            Parquet("uoft-cs/cifar100", "cifar100", "img", "fine_label", channels=3),
        ),
        (50_000, 10_000),
    ),
    "fashion_mnist": ImageSet("Fashion-MNIST", 1, 10, _fashion_mnist(), (60_000, 10_000)),
}
