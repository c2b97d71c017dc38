"""Pictures a second of the streamed loader beside timm's `create_loader`, with the same transforms, files and workers."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from PIL.JpegImagePlugin import JpegImageFile

from ..data import DATASETS, DataContext
from ..data.images.imagenet import MEAN, STD
from ..data.images.streaming import StreamedImages
from ..data.images.worker_transforms import Evaluation, Training, Transform
from ..experiments.processes import cores
from ..report.blocks import Block, Heading, write_markdown
from ..report.page import this_machine
from ..report.table import table, terminal_table
from ..training.progress import console
from ..words import pluralize
from .contest import Contest, take_turns

OURS = "this loader"
_FOLDER = "imagenet-sample"  # of the data root: pictures in the layout of ImageNet
_SIZE, _BATCH = 224, 25  # side of the pictures that are made, pictures in a batch
_ROUNDS, _BATCHES, _READY = 15, 24, 8  # turns, timed batches of a turn, batches before them: some lie ready when a turn begins
_PICTURES = 200  # on which the difference that scaled decoding makes is measured


def write_loading(root: Path, results: Path) -> None:
    """Measures, prints and writes ``loading.md`` in a folder, which is made if missing."""
    workers, usable = torch.get_num_threads(), len(cores())
    speeds = measure(root, _FOLDER, _SIZE, _BATCH, workers)
    contest = Contest("Loaders", "pictures", speeds, {}).table()
    differences = table(
        "Decoding at a fraction of the size",
        ["", "decoded at a fraction", "mean difference of these, in levels of 255"],
        [
            (f"{what}, {side}x{side}", *scaled_decoding(root / _FOLDER / "train", transform))
            for side in (_SIZE, 64)
            for what, transform in (("training", Training(side, flip=False)), ("evaluation", Evaluation(side)))
        ],
    )
    console.print(terminal_table(contest), terminal_table(differences), sep="\n")
    blocks: list[Block] = [
        Heading(1, "Loading pictures"),
        f"Made by `make bench`: random resized crops of {_SIZE}x{_SIZE} pixels and mirroring of the "
        f"pictures of `{_FOLDER}`, batches of {_BATCH} normalized in float32, {pluralize(workers, 'worker')} on "
        f"{pluralize(usable, 'core')}. The loaders take turns of {_BATCHES} batches, {_ROUNDS} rounds, each turn after "
        f"{_READY} batches that do not count; ratios are the median over rounds.",
        contest,
        "JPEGs are decoded at a half, a quarter or an eighth of their size where that is twice what is needed or more. What it "
        f"changes in {_PICTURES} of the pictures:",
        differences,
        f"{this_machine()}.",
    ]
    write_markdown(results / "loading.md", blocks)


def measure(
    root: Path, folder: str, size: int, batch: int, workers: int, *, rounds: int = _ROUNDS, batches: int = _BATCHES
) -> dict[str, list[float]]:
    """Pictures a second of each loader in each round."""
    options = {"folder": folder, "size": size, "batch_size": batch, "validation": 0, "test": 0}
    context = DataContext(root, workers=workers)
    ours = cast(StreamedImages, DATASETS["imagenet"].build(context, **DATASETS.check("imagenet", options)))
    steps = itertools.count()
    loaders: dict[str, Callable[[], Any]] = {OURS: lambda: ours.train_batch(next(steps))}
    for name, prefetcher in (("timm's create_loader", True), ("timm's create_loader, no prefetcher", False)):
        loaders[name] = _timm(root / folder / "train", size, batch, workers, prefetcher).__next__
    speeds = take_turns(loaders, batch, rounds, batches, torch.device("cpu"), ready=_READY)
    ours.stop_workers()
    return speeds


def _timm(folder: Path, size: int, batch: int, workers: int, prefetcher: bool) -> Iterator[Any]:
    """Batches of timm's loader without end, with the transforms of ours."""
    from timm.data import create_dataset, create_loader

    loader = create_loader(
        create_dataset("", str(folder), is_training=True),
        input_size=(3, size, size),
        batch_size=batch,
        is_training=True,
        use_prefetcher=prefetcher,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=workers,
        device=torch.device("cpu"),
        persistent_workers=workers > 0,
        pin_memory=False,
    )
    while True:
        yield from loader


def scaled_decoding(folder: Path, transform: Transform, count: int = _PICTURES) -> tuple[str, str]:
    """The number of pictures of a folder that are decoded at a fraction of their size, and the mean difference."""
    paths = sorted(folder.rglob("*.JPEG"))[:count]
    differences = []
    for seed, path in enumerate(paths):
        scaled, whole = (_read(path, transform, seed, scale=scale) for scale in (True, False))
        if not torch.equal(scaled, whole):
            differences.append((scaled.float() - whole.float()).abs().mean().item())
    mean = f"{statistics.fmean(differences):.1f}" if differences else "none"
    return f"{len(differences)} of {len(paths)}", mean


def _read(path: Path, transform: Transform, seed: int, *, scale: bool) -> torch.Tensor:
    draft = JpegImageFile.draft
    if not scale:
        JpegImageFile.draft = lambda *_: None  # type: ignore[method-assign]
    try:
        with path.open("rb") as file:
            return transform(file, seed)
    finally:
        JpegImageFile.draft = draft  # type: ignore[method-assign]


def has_pictures(root: Path) -> bool:
    """Whether the pictures that are measured are there."""
    return (root / _FOLDER / "train").is_dir()
