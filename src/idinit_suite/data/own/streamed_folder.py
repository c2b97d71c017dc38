"""A folder of pictures that do not fit into memory: batches as `ImageBatches` would make them, read from the files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .. import cache
from ..context import DataContext
from ..images.load import histogram
from ..images.mixing import Mixing
from ..images.streaming import Split, StreamedImages
from ..pictures import decode, decode_all, decode_each
from .folders import PictureFiles
from .images import ImageOptions, facts_of, image_facts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoding:
    """Implements `Transform`: a picture as it would be kept in memory.

    Attributes:
        channels: 3 for RGB, 1 for grey.
        size: See `decode`.
    """

    channels: int
    size: int | None

    def __call__(self, file: BinaryIO, seed: int = 0) -> Tensor:
        """Reads a picture; nothing is random."""
        return torch.tensor(decode(file.read(), self.channels, self.size)).permute(2, 0, 1)


def decoded_shape(path: Path, channels: int, size: int | None) -> tuple[int, int, int]:
    """Channels, height and width of decoded pictures, those of a first one where no ``size`` is given."""
    if size is not None:
        return channels, size, size
    _, *sides = decode_all([path], lambda _: str(path), channels, None)[0].shape
    return channels, sides[0], sides[1]


def streamed_folder(
    files: Mapping[str, PictureFiles],
    classes: Sequence[str],
    source: str,
    shape: tuple[int, int, int],
    size: int | None,
    kept: Path,
    context: DataContext,
    options: ImageOptions,
) -> StreamedImages:
    """Batches of pictures in files.

    A first pass reads every picture, so that a bad one is reported before anything is trained, and the checksum and the
    statistics are those that the pictures would have in memory; what it finds is kept in a file.
    """

    def build() -> cache.Content:
        count = sum(map(len, files.values()))
        logger.warning(
            "%s: %d pictures are too many for memory: all are read once, then streamed from their files", source, count
        )
        return {}, _first_pass(files, classes, source, shape, size)

    _, known = cache.cached(kept, build)
    found = {split: Split(pictures, torch.arange(len(pictures))) for split, pictures in files.items()}
    decoding = Decoding(shape[0], size)
    return StreamedImages(
        options.splitting.whole(found, files["train"].labels, Split.pick),
        facts_of(known, known["contents"]),
        context,
        batch_size=options.batch_size,
        training=decoding,
        evaluation=decoding,
        shape=shape,
        augmentation=options.augmentation,
        mixing=Mixing(options.mixup),
    )


def _first_pass(
    files: Mapping[str, PictureFiles], classes: Sequence[str], source: str, shape: tuple[int, int, int], size: int | None
) -> dict[str, Any]:
    """Facts about pictures that are never all in memory, with the checksum that their arrays would have."""
    splits = sorted(files)
    paths = [path for split in splits for path in files[split].paths]
    pictures = decode_each(paths, lambda index: str(paths[index]), shape[0], size)
    counts = torch.zeros(shape[0], 256, dtype=torch.int64)

    def read(split: str) -> Iterator[Tensor]:
        for picture in islice(pictures, len(files[split])):
            image = torch.tensor(picture).permute(2, 0, 1)
            if split == "train":
                counts.add_(histogram(image))
            yield image

    def arrays() -> Iterator[tuple[str, Sequence[int], torch.dtype, Iterable[Tensor]]]:
        for split in splits:
            labels = files[split].labels
            yield f"{split}_images", (len(labels), *shape), torch.uint8, read(split)
            yield f"{split}_labels", labels.shape, labels.dtype, [labels]

    contents = cache.checksum_of_pieces(arrays())
    return {**image_facts(counts, classes, source), "contents": contents}
