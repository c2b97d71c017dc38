"""Tiny sets of texts in the layout of the data root."""

from __future__ import annotations

import json
from pathlib import Path

TEXTS = ["a very good film", "a very bad film", "good good good", "a bad plot", "not a good plot", "not very bad"]
LABELS = [1, 0, 1, 0, 0, 1]
ALL = ("train", "validation", "test")


def write_texts(root: Path, name: str = "sst2", copies: int = 2, splits: tuple[str, ...] = ALL) -> Path:
    """Writes ``text/<name>/<split>.jsonl``; the training split has each text ``copies`` times."""
    folder = root / "text" / name
    folder.mkdir(parents=True)
    for split in splits:
        rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
        lines = [json.dumps(row) for row in rows * (copies if split == "train" else 1)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
