"""A small corpus, made up by a rule."""

from __future__ import annotations

import random
from pathlib import Path

SYLLABLES = ("ka", "lo", "mi", "ru", "te", "so", "na", "vi", "pe", "du")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Documents of 5 to 40 words of one to three syllables."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 3))) for _ in range(300)]
    return [" ".join(draw.choices(words, k=draw.randint(5, 40))) + " ." for _ in range(count)]


def write_corpus(root: Path, folder: str = "corpus") -> Path:
    """Writes ``train.txt`` and ``validation.txt``, a document a line."""
    place = root / folder
    place.mkdir(parents=True)
    for split, seed, count in (("train", 0, 300), ("validation", 1, 30)):
        (place / f"{split}.txt").write_text("\n".join(sentences(count, seed)) + "\n", encoding="utf-8")
    return place
