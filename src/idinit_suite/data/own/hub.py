"""Any data set of the Hugging Face hub, or a local folder of tables, as `datasets` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from idinit.errors import UsageError

from ...errors import in_one_line
from .. import cache
from ..base import DATASETS, Batches, DatasetInfo
from ..context import DataContext
from ..downloads import load_from_hub
from ..images.augment import Augmentation
from ..labels import number_labels
from ..pictures import decode_all
from ..rows import Rows
from ..spec import Images, Sentences
from ..splits import HeldOut, SplitOptions
from ..text.batches import TextOptions
from .folders import split_names
from .images import ImageOptions, from_cache, image_facts_of, own_images
from .texts import label_column, own_texts, text_column

_READER = 1  # raised when the same rows would be decoded to other pixels


@DATASETS.register("hub", DatasetInfo(Images | Sentences))
def hub(
    context: DataContext,
    *,
    path: str,
    config: str | None = None,
    image: str | None = None,
    text: str | None = None,
    label: str | None = None,
    batch_size: PositiveInt = 64,
    validation: HeldOut = None,
    test: HeldOut = None,
    split_seed: NonNegativeInt = 0,
    train_limit: PositiveInt | None = None,
    size: Annotated[int, Field(ge=4)] | None = None,
    channels: Literal[1, 3] = 3,
    crop: NonNegativeInt = 4,
    flip: bool = True,
    cutout: NonNegativeInt = 0,
    mixup: NonNegativeFloat = 0.0,
    length: PositiveInt = 256,
    min_count: PositiveInt = 2,
    vectors: str = "random",
    width: PositiveInt | None = None,
) -> Batches:
    """A data set of the hub, OWNER/NAME, or a local folder of parquet, CSV or JSON files: pictures or texts."""
    if image and text:
        raise UsageError(f"data.image={image} and data.text={text}: name one, as a model takes pictures or texts")
    loaded = _load(path, config)
    features = loaded["train"].features
    pictures = [name for name, feature in features.items() if _holds_pictures(feature)]
    found = {split: _rows(rows, f"{path}, {split}", pictures) for split, rows in loaded.items()}
    train = found["train"]
    label_of = label_column(train, label, text or image or (pictures[0] if len(pictures) == 1 else None))
    names = tuple(getattr(features[label_of], "names", None) or ())
    found = {split: rows for split, rows in found.items() if split == "train" or _is_labelled(rows, label_of)}
    splitting = SplitOptions(validation, test, split_seed, train_limit)
    title = Path(path).name if Path(path).expanduser().exists() else path
    source = f"{title} ({config})" if config else title
    if text or not (image or pictures):
        text_of = text_column(train, text, label_of)
        options = TextOptions(batch_size, length, min_count, vectors, width)
        return own_texts(found, text_of, label_of, source, context, splitting, options, names)
    image_of = (
        train.column(image, "data.image") if image else train.only_column("data.image", pictures.__contains__, ("image",))
    )

    pictures_of = {
        split: [_picture(cell, rows.where(index), path) for index, cell in enumerate(rows.columns[image_of])]
        for split, rows in found.items()
    }

    def build() -> cache.Content:
        labels, classes = number_labels(found, label_of, names)
        arrays = {}
        for split, rows in found.items():
            arrays[f"{split}_images"] = decode_all(pictures_of[split], rows.where, channels, size)
            arrays[f"{split}_labels"] = labels[split]
        _require_one_size({split: tuple(arrays[f"{split}_images"].shape[1:]) for split in found}, source)
        return arrays, image_facts_of(arrays, classes, source)

    fingerprints = {split: loaded[split]._fingerprint for split in found}
    files = [picture for contents in pictures_of.values() for picture in contents if isinstance(picture, Path)]
    key = cache.key(
        filter(Path.exists, files),
        prints=fingerprints,  # this word and the others are part of the key
        reader=_READER,
        image=image_of,
        label=label_of,
        size=size,
        channels=channels,
    )
    splits, about = from_cache(cache.cached(cache.folder(context.root) / f"hub-{key}.safetensors", build))
    return own_images(splits, about, context, ImageOptions(batch_size, splitting, Augmentation(crop, flip, cutout), mixup))


def _load(path: str, config: str | None) -> dict[str, Any]:
    """The splits that there are of ``train``, ``validation`` and ``test``."""
    where = Path(path).expanduser()
    if where.is_file():
        raise UsageError(
            f"data.path={path} is a file: give the folder that it is in, or data=texts data.train={path} for texts"
        )
    try:
        loaded = load_from_hub(str(where) if where.exists() else path, name=config)
    except Exception as error:  # of many libraries: the network, the builder, the files
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise UsageError(
            f"data.path={path} cannot be loaded ({in_one_line(cause)}): give OWNER/NAME of the hub, or a folder with "
            "parquet, CSV or JSON files"
        ) from error
    names = split_names(list(loaded))
    if "train" not in names:
        raise UsageError(f"data.path={path} has no split train, only {', '.join(loaded)}")
    return {split: loaded[name] for split, name in names.items()}


def _rows(rows: Any, source: str, pictures: list[str]) -> Rows:
    import datasets

    for name in pictures:
        rows = rows.cast_column(name, datasets.Image(decode=False))
    return Rows(source, rows.to_dict(), range(1, len(rows) + 1))


def _holds_pictures(feature: Any) -> bool:
    """Whether a column is declared as pictures, or has their bytes and paths, as `datasets` stores them."""
    return type(feature).__name__ == "Image" or (isinstance(feature, Mapping) and feature.keys() == {"bytes", "path"})


def _is_labelled(rows: Rows, label: str) -> bool:
    """Whether a split has labels: competitions publish their test split without, or with -1."""
    return not all(cell in (None, -1) for cell in rows.columns.get(label, [None]))


def _picture(cell: Any, where: str, folder: str) -> Path | bytes:
    if isinstance(cell, str):
        return Path(folder).expanduser() / cell
    if isinstance(cell, Mapping) and (cell.get("bytes") or cell.get("path")):
        return cell["bytes"] or Path(cell["path"])
    if cell is None or isinstance(cell, Mapping):
        raise UsageError(f"{where}: the picture is missing: delete the row or fill it")
    raise UsageError(f"{where}: the picture has type {type(cell).__name__}: set data.image to the column of pictures")


def _require_one_size(shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    if len(set(shapes.values())) > 1:
        raise UsageError(f"{source}: pictures differ in size between splits ({shapes}): set data.size=64 or another side")
