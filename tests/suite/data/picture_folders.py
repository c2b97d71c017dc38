"""Small folders of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"cat": (200, 50, 50), "dog": (50, 50, 200), "emu": (50, 180, 60)}


def write_pictures(folder: Path, count: int, classes: tuple[str, ...] = ("cat", "dog", "emu"), seed: int = 0) -> Path:
    """Writes noisy pictures of mixed sizes, a folder a class, as JPEG and PNG in turns."""
    random = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = random.integers(10, 20, 2)
            pixels = np.clip(np.array(COLOURS[name]) + random.normal(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.{'jpg' if number % 2 else 'png'}", quality=95)
    return folder
