"""Data made by a user's function."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Tensor

from idinit.errors import UsageError

from ...errors import first_line
from ...seeds import derive
from ...targets import call_target, resolve_target
from .. import cache
from ..base import DATASETS, Batches, DatasetInfo
from ..context import DataContext
from ..images.augment import Augmentation
from ..images.load import ImageFacts
from ..labels import number_labels
from ..pictures import to_mode
from ..rows import Rows
from ..spec import Images, Sentences
from ..splits import HeldOut, SplitOptions
from .folders import SPLITS
from .images import ImageOptions, facts_of, image_facts_of, own_images, pick
from .tensors import TensorBatches

_KINDS = "give a PIL image, uint8 [C, H, W], finite floats, or numbers of words from 0 [T]"


@DATASETS.register("python", DatasetInfo(Images | Sentences))
def python(
    context: DataContext,
    *,
    target: str,
    options: dict[str, Any] = {},  # noqa: B006 (pydantic copies it)
    batch_size: PositiveInt = 64,
    validation: HeldOut = None,
    test: HeldOut = None,
    split_seed: NonNegativeInt = 0,
    train_limit: PositiveInt | None = None,
    crop: NonNegativeInt = 0,
    flip: bool = False,
    cutout: NonNegativeInt = 0,
    mixup: NonNegativeFloat = 0.0,
) -> Batches:
    """What MODULE:FUNCTION returns: a Dataset of (input, class), or a mapping from train, validation and test to one each.

    Inputs are PIL images or uint8 [C, H, W] (augmented and normalized as other images), floats of any one shape (taken as they
    are), or int64 [T] (numbers of words; 0 is padding). Each Dataset is read once, in order, with random states that
    ``split_seed`` sets, and kept in memory: what it augments at random would stay the same in every epoch.
    """
    make = resolve_target(target, "data.target")
    with _fixed_random_state(derive(split_seed, "python")):
        made = call_target(make, options, "data")
    named = made if isinstance(made, Mapping) else {"train": made}
    if "train" not in named or set(named) - set(SPLITS):
        raise UsageError(
            f"data.target={target} returned the splits {', '.join(map(str, named))}: return train, validation, test"
        )
    read = {split: _read(dataset, f"{target}, {split}", split_seed) for split, dataset in named.items()}
    labels, classes = number_labels({split: rows for split, (_, rows) in read.items()}, "label")
    inputs = {split: values for split, (values, _) in read.items()}
    kinds = {split: (tuple(values.shape[1:]), values.dtype) for split, values in inputs.items()}
    if len(set(kinds.values())) > 1:
        raise UsageError(f"data.target={target}: splits differ in shape or type: {kinds}")
    splitting = SplitOptions(validation, test, split_seed, train_limit)
    arrays = {f"{split}_images": values for split, values in inputs.items()}
    arrays |= {f"{split}_labels": values for split, values in labels.items()}
    checksum = cache.checksum(arrays)
    found = {split: (inputs[split], labels[split]) for split in inputs}
    if inputs["train"].dtype == torch.uint8:
        options_of_images = ImageOptions(batch_size, splitting, Augmentation(crop, flip, cutout), mixup)
        return own_images(found, facts_of(image_facts_of(arrays, classes, target), checksum), context, options_of_images)
    if crop or flip or cutout or mixup:
        raise UsageError("data.crop, flip, cutout and mixup are for pictures (PIL or uint8), and these inputs are not")
    about = ImageFacts(len(classes), (), (), checksum, target, {"classes": len(classes)})
    return TensorBatches(splitting.whole(found, labels["train"], pick), about, context, batch_size=batch_size)


def _read(dataset: Any, source: str, seed: int) -> tuple[Tensor, Rows]:
    """All inputs of a Dataset as one tensor, and their labels."""
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__") or not len(dataset):
        raise UsageError(f"{source}: a {type(dataset).__name__} is not a Dataset with __len__ and __getitem__, or it is empty")
    inputs, labels = [], []
    with _fixed_random_state(derive(seed, "python", source)):
        for index in range(len(dataset)):
            item = dataset[index]
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise UsageError(f"{source}, item {index}: it must be a pair (input, class)")
            inputs.append(_tensor(item[0], f"{source}, item {index}"))
            labels.append(_label(item[1]))
            if inputs[-1].shape != inputs[0].shape or inputs[-1].dtype != inputs[0].dtype:
                raise UsageError(
                    f"{source}, item {index}: {inputs[-1].dtype} of shape {tuple(inputs[-1].shape)}, and item 0 is "
                    f"{inputs[0].dtype} of shape {tuple(inputs[0].shape)}: give all inputs one shape"
                )
    return torch.stack(inputs), Rows(source, {"label": labels}, range(len(labels)), "item")


@contextmanager
def _fixed_random_state(seed: int) -> Iterator[None]:
    """Seeds the global random states of torch, numpy and Python, and puts them back afterwards."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def _label(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.numel() == 1) else value


def _tensor(value: Any, where: str) -> Tensor:
    try:
        if isinstance(value, Image.Image):
            image = np.asarray(to_mode(value, 1 if value.mode in ("1", "L") else 3))
            return torch.from_numpy(image.reshape(*image.shape[:2], -1).copy()).permute(2, 0, 1)
        tensor = torch.atleast_1d(torch.as_tensor(value).detach().cpu().to_dense())
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        raise UsageError(f"{where}: the input has type {type(value).__name__} ({first_line(error)}): {_KINDS}") from None
    if tensor.dtype == torch.uint8 and tensor.dim() == 3:
        if tensor.shape[0] > 4 >= tensor.shape[2]:
            raise UsageError(f"{where}: a picture of shape {tuple(tensor.shape)} has its channels last: give uint8 [C, H, W]")
        return tensor
    if tensor.is_floating_point() and tensor.numel() and tensor.isfinite().all():
        return tensor.float()
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if tensor.dim() == 1 and whole and bool((tensor >= 0).all()):
        return tensor.long()
    raise UsageError(f"{where}: the input is {tensor.dtype} of shape {tuple(tensor.shape)}: {_KINDS}")
