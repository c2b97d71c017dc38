"""A command line as it is typed -> one that Hydra reads as it is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A path that is not in quotes. One of a user's data is left as it is if it holds a comma (a sweep) or is a number or null.
_PATH = re.compile(
    r"(paths\.\w+|data\.(?:folder|path|train|validation|test)(?!.*,)(?!=(?:[\d.]+|null|None)$))=(?!(['\"]).*\2$)(.+)"
)


def hydra_words(words: Sequence[str]) -> list[str]:
    """Words for Hydra's parsers.

    - Options such as ``-m`` come first: Hydra takes none between two overrides.
    - Paths are put in quotes: to Hydra, commas, brackets and quotes mean something.
    - ``None``, which is what an agent of Weights & Biases passes for ``null``, becomes ``null``.

    Args:
        words: The command line without the program.
    """
    return [_readable(word) for word in sorted(words, key=_is_override)]


def key_of(override: str) -> str:
    """The key that an override sets, such as ``optim.lr`` of ``+optim.lr=0.1``."""
    return override.lstrip("+~").partition("=")[0]


def _is_override(word: str) -> bool:
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


def _readable(word: str) -> str:
    if path := _PATH.fullmatch(word):
        return "{}='{}'".format(path[1], path[3].replace("'", r"\'"))
    key, equals, value = word.partition("=")
    return f"{key}=null" if equals and value == "None" and _is_override(word) else word
