"""Labelled texts by name: what they are, their locations, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idinit.errors import UsageError

from ..downloads import load_from_hub
from ..locate import Locator, NotHere, Source, all_of, attempt, other_data
from ..rows import json_lines
from .synthetic import opinions

Labelled = list[tuple[str, int]]  # texts with their classes


@dataclass(frozen=True)
class TextSet:
    """A set of short texts with one class each, in which words and marks stand apart.

    Attributes:
        title: Its usual name.
        num_classes: Number of classes.
        repository: Its name on the Hugging Face hub, if it is there.
        label: The column of class numbers there.
        validation: Texts held out of the training split; None where the set has a validation split.
        sizes: Texts in each of its splits, as published.
        made: Makes it, where it is made by a rule.
    """

    title: str
    num_classes: int
    repository: str = ""
    label: str = "label"
    validation: int | None = None
    sizes: tuple[int, ...] = ()
    made: Callable[[], dict[str, Labelled]] | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits it comes in."""
        return ("train", "test") if self.validation else ("train", "validation", "test")

    def places(self, name: str) -> tuple[Locator[dict[str, Labelled]], ...]:
        """Its possible locations, in the order in which they are tried."""
        if made := self.made:
            return (lambda root: Source((), made),)
        return _folder(name, self), _hub(self)


TEXT_SETS = {
    "sst2": TextSet("SST-2 (sentences)", 2, "SetFit/sst2", sizes=(6920, 872, 1821)),
    "sst5": TextSet("SST-5 (sentences)", 5, "SetFit/sst5", sizes=(8544, 1101, 2210)),
    "trec6": TextSet("TREC-6", 6, "SetFit/TREC-QC", "label_coarse", validation=545, sizes=(5452, 500)),
    "opinions": TextSet("made-up opinions", 2, made=opinions),
}


def titled(text_set: TextSet, sizes: Mapping[str, int]) -> str:
    """The title of a set that was read; one of other sizes than published is called other data."""
    return text_set.title if tuple(sizes.values()) == text_set.sizes or text_set.made else other_data(text_set.title, sizes)


def _folder(name: str, text_set: TextSet) -> Locator[dict[str, Labelled]]:
    """The data root: ``text/sst2/train.jsonl`` and its like, one object with ``text`` and ``label`` a line."""

    def find(root: Path) -> Source[dict[str, Labelled]]:
        files = {split: root / "text" / name / f"{split}.jsonl" for split in text_set.splits}
        if not files["train"].is_file():
            raise NotHere(f"data root: there is no {files['train']}")
        found = all_of(files).items()
        return Source(tuple(files.values()), lambda: {split: read_jsonl(path, text_set.num_classes) for split, path in found})

    return find


def _hub(text_set: TextSet) -> Locator[dict[str, Labelled]]:
    """The Hugging Face hub, or what an earlier download has left in its cache."""

    def find(root: Path) -> Source[dict[str, Labelled]]:
        repository = text_set.repository
        with attempt(f"Hugging Face hub, {repository}"):
            loaded = load_from_hub(repository)
        return Source((), lambda: from_columns(loaded, repository, text_set))

    return find


def from_columns(loaded: Mapping[str, Iterable[Any]], repository: str, text_set: TextSet) -> dict[str, Labelled]:
    """The splits of a set as `datasets` gives them, after a look at each row."""
    return {
        split: list(checked(enumerate(loaded[split], start=1), text_set.num_classes, f"{repository}, {split}", text_set.label))
        for split in text_set.splits
    }


def read_jsonl(path: Path, num_classes: int) -> Labelled:
    """Reads texts with their classes, one JSON object with ``text`` and ``label`` a line.

    Raises:
        UsageError: Naming the file and the line, if it is not UTF-8 or not JSON, or if a text is empty or its class is none
            of 0 to ``num_classes`` - 1; naming the file, if there is no line.
    """
    texts = list(checked(json_lines(path), num_classes, str(path)))
    if not texts:
        raise UsageError(f"{path} is empty: fill it or copy it again")
    return texts


def checked(rows: Iterable[tuple[int, Any]], num_classes: int, where: str, label: str = "label") -> Iterator[tuple[str, int]]:
    """Texts with their classes, after a look at each.

    Args:
        rows: Numbered objects with the keys ``text`` and ``label``.
        num_classes: Classes are 0 to ``num_classes`` - 1.
        where: What an error names.
        label: The key of classes.

    Raises:
        UsageError: Naming the row, if something is missing, a text is empty or a class is out of range.
    """
    for number, row in rows:
        here = f"{where}, line {number}"
        try:
            text, cls = row["text"], row[label]
        except (KeyError, TypeError):
            raise UsageError(f"{here}: not an object with 'text' and '{label}': it is another data set's") from None
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{here}: the text is empty: delete the line or fill it")
        if not isinstance(cls, int) or not 0 <= cls < num_classes:
            raise UsageError(f"{here}: the label is {cls!r}, and there are {num_classes} classes, from 0: correct the line")
        yield text, cls
