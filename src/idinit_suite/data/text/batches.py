"""Batches of short texts for classification: words as numbers, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Generator, Tensor

from idinit.errors import UsageError

from ...seeds import generator
from .. import cache
from ..base import DATASETS, DatasetInfo, Inputs, Stateless
from ..context import DataContext
from ..locate import resolve
from ..order import EpochOrder
from ..spec import Sentences
from ..splits import split
from .datasets import TEXT_SETS, Labelled, TextSet, titled
from .word_vectors import load_vectors

PADDING, UNKNOWN = 0, 1
WIDTH = 100  # numbers a word of random vectors
_SPECIAL = ("<padding>", "<unknown>")


def words_of(text: str) -> list[str]:
    """Lower-cased, whitespace-split tokens; the sets have white space around punctuation marks."""
    return text.lower().split()


def vocabulary_of(texts: Iterable[Sequence[str]], min_count: int) -> list[str]:
    """The words that occur at least ``min_count`` times, the most frequent first; equals by the alphabet.

    Their numbers are their places, from 2: 0 is padding, 1 stands for every other word.
    """
    counts = Counter(word for words in texts for word in words)
    return [*_SPECIAL, *sorted((w for w, n in counts.items() if n >= min_count), key=lambda w: (-counts[w], w))]


class TextBatches(Stateless):
    """Implements `idinit_suite.data.Batches` for texts in memory.

    The order of an epoch is drawn from ``(seed, "order", epoch)``. A batch is as wide as its longest text.
    """

    def __init__(
        self,
        splits: Mapping[str, Labelled],
        spec: Sentences,
        vocabulary: Sequence[str],
        source: str,
        pretrained: Tensor,
        context: DataContext,
        *,
        batch_size: int,
    ) -> None:
        """Turns the texts into numbers.

        Args:
            splits: Texts with their classes: ``train`` and others.
            spec: Sizes, and vectors of the words.
            vocabulary: Words in the order of their numbers.
            source: Title of what was read.
            pretrained: Those of the vectors that were read, [N, width]; they enter the checksum.
            context: Where batches are made.
            batch_size: Texts in a training batch of all processes together.

        Raises:
            UsageError: If an epoch would have no batch, the batch cannot be shared out evenly, or a text is too long.
        """
        self.batch_size, self.spec, self.source = batch_size, spec, source
        self._context = context
        numbers = {word: number for number, word in enumerate(vocabulary)}
        self._splits = {name: _encoded(name, texts, numbers, spec.length) for name, texts in splits.items()}
        lengths = self._splits["train"][1]
        on_cpu = replace(context, device=torch.device("cpu"))  # where the texts are kept
        self._order = EpochOrder(len(lengths), batch_size, on_cpu, noun="texts", lengths=lengths)
        self.steps_per_epoch = self._order.steps_per_epoch
        flat = {f"{name}_{i}": part for name, parts in self._splits.items() for i, part in enumerate(parts)}
        self.checksum = cache.checksum({**flat, "pretrained": pretrained})
        self.facts: dict[str, Any] = (
            {"words_with_vectors": round(len(pretrained) / len(vocabulary), 3)} if len(pretrained) else {}
        )

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of texts in each split."""
        return {name: len(labels) for name, (_, _, labels) in self._splits.items()}

    def example_inputs(self, count: int = 2) -> Inputs:
        """The first training texts, up to all, int64 [count, T], as the only input of a model."""
        return self._batch("train", torch.arange(min(count, self.splits["train"])))[0]

    def train_batch(self, step: int) -> tuple[Inputs, Tensor]:
        """This process's share of a training batch.

        Args:
            step: Global step from 0, through all epochs.

        Returns:
            Numbers of words, int64 [batch_size / world_size, T], the only input, and classes, int64 [batch_size / world_size].
        """
        return self._batch("train", self._order.local_batch(step))

    def evaluation_batches(self, split: str) -> Iterator[tuple[Inputs, Tensor]]:
        """This process's share of a split: every ``world_size``-th text, shorter ones first, so that little is padded.

        Args:
            split: One of `splits`.

        Yields:
            As `train_batch`; batches are four times as large, the last may be smaller.
        """
        by_length = torch.argsort(self._splits[split][1], stable=True)
        for (rows,) in self._context.own_batches(4 * self.batch_size, by_length):
            yield self._batch(split, rows)

    def _batch(self, split: str, rows: Tensor) -> tuple[Inputs, Tensor]:
        words, lengths, labels = self._splits[split]
        longest, to_device = int(lengths[rows].max()), self._context.to_device
        return (to_device(words[rows, :longest]),), to_device(labels[rows])


def _encoded(name: str, texts: Labelled, numbers: Mapping[str, int], length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of words [N, length], numbers of words in each text [N], classes [N]: all int64."""
    words = torch.full((len(texts), length), PADDING)
    lengths = torch.empty(len(texts), dtype=torch.int64)
    for row, (text, _) in enumerate(texts):
        found = [numbers.get(word, UNKNOWN) for word in words_of(text)]
        if len(found) > length:
            raise UsageError(
                f"{name}, text {row + 1}: {len(found)} words, and the model takes data.length={length}: raise data.length"
            )
        words[row, : len(found)] = torch.tensor(found)
        lengths[row] = len(found)
    return words, lengths, torch.tensor([label for _, label in texts])


def vectors_of(words: Sequence[str], name: str, width: int | None, root: Path, random: Generator) -> tuple[Tensor, Tensor]:
    """Vectors with which the training of a vocabulary begins (Kim 2014).

    Args:
        words: The vocabulary.
        name: Pretrained vectors, see `load_vectors`, or ``random``.
        width: Numbers a word; None for those of pretrained vectors, or else 100.
        root: The data root.
        random: Of the vectors of words that have none: uniform, in (-1/4, 1/4), or of the variance of the pretrained ones.

    Returns:
        float32 [words, width], and those of them that are pretrained.

    Raises:
        UsageError: If the vectors cannot be read, or are of another width than asked for.
    """
    rows, known, bound = torch.empty(0, dtype=torch.int64), torch.empty(0, width or WIDTH), 0.25
    if name != "random":
        rows, known = load_vectors(name, root, words)
        bound = 3**0.5 * known.std().item()
    if width not in (None, known.shape[1]):
        raise UsageError(
            f"data.width={width}, but data.vectors={name} have {known.shape[1]} numbers a word: leave data.width out"
        )
    vectors = torch.empty(len(words), known.shape[1]).uniform_(-bound, bound, generator=random)
    vectors[rows] = known
    vectors[PADDING] = 0
    return vectors, known


@dataclass(frozen=True)
class TextOptions:
    """The options that all sets of texts have, under the names of the configuration.

    Attributes:
        batch_size: Texts in a training batch of all processes together.
        length: Words of the longest text.
        min_count: How often a word occurs at least in the training texts, or it is one of the unknown ones.
        vectors: Pretrained vectors of words, or ``random``; see `vectors_of`.
        width: Numbers a word.
    """

    batch_size: int
    length: int
    min_count: int
    vectors: str
    width: int | None


def text_batches(
    splits: Mapping[str, Labelled], num_classes: int, source: str, context: DataContext, options: TextOptions
) -> TextBatches:
    """Batches of texts, with the vocabulary of the training texts."""
    vocabulary = vocabulary_of((words_of(text) for text, _ in splits["train"]), options.min_count)
    random = generator(context.seed, "vectors")
    begin, pretrained = vectors_of(vocabulary, options.vectors, options.width, context.root, random)
    spec = Sentences(len(vocabulary), options.length, PADDING, num_classes, begin)
    return TextBatches(splits, spec, vocabulary, source, pretrained, context, batch_size=options.batch_size)


def _register(name: str, text_set: TextSet) -> None:
    """Registers a set of texts: all have the same options, with defaults of their own."""

    def build(
        context: DataContext,
        *,
        batch_size: PositiveInt = 50,
        validation: NonNegativeInt | None = text_set.validation,
        split_seed: NonNegativeInt = 0,
        train_limit: PositiveInt | None = None,
        length: PositiveInt = 64,
        min_count: PositiveInt = 2,
        vectors: str = "random",
        width: PositiveInt | None = None,
    ) -> TextBatches:
        source = resolve(name, text_set.places(name), context.root, f"text/{name}/, one JSON object with text and label a line")
        splits = source.read()
        sizes = {split: len(texts) for split, texts in splits.items()}
        labels = torch.tensor([label for _, label in splits["train"]])
        train, held_out = split(labels, validation or 0, split_seed)
        whole = splits["train"]
        splits["train"] = [whole[row] for row in train[:train_limit]]
        if validation:
            splits["validation"] = [whole[row] for row in held_out]
        elif validation == 0:
            splits.pop("validation", None)
        options = TextOptions(batch_size, length, min_count, vectors, width)
        return text_batches(splits, text_set.num_classes, titled(text_set, sizes), context, options)

    build.__doc__ = f"{text_set.title}: texts of {text_set.num_classes} classes."
    DATASETS.register(name, DatasetInfo(Sentences, classes=text_set.num_classes))(build)


for _name, _text_set in TEXT_SETS.items():
    _register(_name, _text_set)
