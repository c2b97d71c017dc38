"""Made-up texts whose class follows from a rule, for showing text models without any data.

A text is 4 to 12 words. Each is, by chance, neutral or an opinion, good or bad; an opinion may follow a negation, which turns
it around. The class is 1 where good opinions outweigh bad ones, negated ones counted as their opposite, and 0 where bad ones
do; texts in which they balance are drawn again. Counting words is not enough: the order of negation and opinion matters.
"""

from __future__ import annotations

import random

SIZES = {"train": 3000, "validation": 500, "test": 1000}
NEGATIONS = ("not", "never", "hardly")
OPINION, NEGATED = 0.4, 0.4  # shares of opinions among words, and of negations before opinions


def opinions() -> dict[str, list[tuple[str, int]]]:
    """The texts with their classes, the same on every machine."""
    return {split: [_text(random.Random(f"{split} {number}")) for number in range(size)] for split, size in SIZES.items()}


def _text(draw: random.Random) -> tuple[str, int]:
    while True:
        words, balance = [], 0
        for _ in range(draw.randint(4, 12)):
            if draw.random() >= OPINION:
                words.append(f"word{draw.randrange(50)}")
                continue
            value = draw.choice((1, -1))
            words.append(f"{'good' if value > 0 else 'bad'}{draw.randrange(6)}")
            if draw.random() < NEGATED:
                words.insert(-1, draw.choice(NEGATIONS))
                value = -value
            balance += value
        if balance:
            return " ".join(words), int(balance > 0)
