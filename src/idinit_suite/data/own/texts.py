"""Tables of texts with a class each."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from idinit.errors import UsageError

from ..base import DATASETS, DatasetInfo
from ..context import DataContext
from ..labels import is_missing, number_labels
from ..rows import Rows, read_rows
from ..spec import Sentences
from ..splits import HeldOut, SplitOptions
from ..text.batches import TextBatches, TextOptions, text_batches
from ..text.datasets import Labelled

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("text", "sentence", "review", "content")
LABEL_COLUMNS = ("label", "labels", "class", "target")
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def own_texts(
    found: Mapping[str, Rows],
    text: str,
    label: str,
    source: str,
    context: DataContext,
    splitting: SplitOptions,
    options: TextOptions,
    names: tuple[str, ...] = (),
) -> TextBatches:
    """Batches of a user's texts, which are split into words and punctuation marks and cut at ``data.length`` of them.

    Args:
        found: The rows of each split.
        text: The column of texts.
        label: The column of labels.
        source: What was read, for people.
        context: Where batches are made.
        splitting: What is held out of the training split where others are lacking.
        options: Those of all sets of texts.
        names: Names of the classes, where the labels number them.
    """
    length = options.length
    labels, classes = number_labels(found, label, names)
    whole: dict[str, Labelled] = {}
    for split, rows in found.items():
        tokens = [_tokens(value, rows.where(index)) for index, value in enumerate(rows.columns[text])]
        if longer := sum(len(words) > length for words in tokens):
            logger.warning(
                "%s: %d of %d texts have more than data.length=%d words and are cut", rows.source, longer, len(rows), length
            )
        whole[split] = [(" ".join(words[:length]), int(cls)) for words, cls in zip(tokens, labels[split], strict=True)]
    batches = text_batches(splitting.whole(whole, labels["train"], _pick), len(classes), source, context, options)
    batches.facts["classes"] = len(classes)
    return batches


def _pick(texts: Labelled, rows: Tensor) -> Labelled:
    return [texts[row] for row in rows]


def _tokens(value: object, where: str) -> list[str]:
    if is_missing(value):
        raise UsageError(f"{where}: the text is empty: fill it or delete the row")
    if not isinstance(value, str):
        raise UsageError(f"{where}: the text has type {type(value).__name__}: set data.text to the column of texts")
    return _WORD.findall(value)


def text_column(rows: Rows, asked: str | None, label: str) -> str:
    """The column of texts: the one asked for, or the only one that can be meant."""

    def fits(name: str) -> bool:
        return name != label and all(isinstance(cell, str) or cell is None for cell in rows.columns[name])

    if asked == label:
        raise UsageError(
            f"{rows.source}: data.text and data.label are both '{label}': name the column of texts and that of classes"
        )
    return rows.column(asked, "data.text") if asked else rows.only_column("data.text", fits, TEXT_COLUMNS)


def label_column(rows: Rows, asked: str | None, text: str | None) -> str:
    """The column of labels: the one asked for, or the only one that can be meant."""
    if asked:
        return rows.column(asked, "data.label")
    usual = [name for name in rows.columns if name.lower() in LABEL_COLUMNS]
    others = [name for name in rows.columns if name != text]
    fitting = usual or (others if text else [])
    return rows.only_column("data.label", fitting.__contains__, LABEL_COLUMNS)


@DATASETS.register("texts", DatasetInfo(Sentences))
def texts(
    context: DataContext,
    *,
    train: str,
    validation: HeldOut | str = None,
    test: HeldOut | str = None,
    text: str | None = None,
    label: str | None = None,
    batch_size: PositiveInt = 50,
    split_seed: NonNegativeInt = 0,
    train_limit: PositiveInt | None = None,
    length: PositiveInt = 256,
    min_count: PositiveInt = 2,
    vectors: str = "random",
    width: PositiveInt | None = None,
) -> TextBatches:
    """Texts in tables: CSV, TSV, JSON, JSON lines or parquet; validation and test are files too, or held out of train."""
    paths = {"train": train, "validation": validation, "test": test}
    found = {split: read_rows(Path(path).expanduser()) for split, path in paths.items() if isinstance(path, str)}
    label_of = label_column(found["train"], label, text)
    text_of = text_column(found["train"], text, label_of)
    for rows in found.values():
        rows.column(text_of, "data.text"), rows.column(label_of, "data.label")
    source = ", ".join(Path(rows.source).name for rows in found.values())
    splitting = SplitOptions(
        None if isinstance(validation, str) else validation,
        None if isinstance(test, str) else test,
        split_seed,
        train_limit,
    )
    return own_texts(
        found, text_of, label_of, source, context, splitting, TextOptions(batch_size, length, min_count, vectors, width)
    )
