"""Pictures in shards of the webdataset format: tar files in which ``KEY.cls`` is the class of ``KEY.jpg``.

timm reads such files as a stream, which begins an epoch anew after a resume. Here an index of all members is made at the start,
so that any picture can be read at any time, as from a folder.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import torch

from ..hidden import is_hidden
from .listing import Listing

_PICTURES = ("jpg", "jpeg", "png", "webp")


class Shards:
    """Implements `Reader`.

    Attributes:
        listing: Names, sizes and classes of the pictures, in order of shards and of members.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Reads what the shards hold, and the classes, but no pictures.

        Args:
            files: The shards.

        Raises:
            OSError: If a picture has no class that is a number from 0 on.
            tarfile.TarError: If a shard is damaged.
        """
        self._files = tuple(files)
        self._places: list[tuple[int, int, int]] = []  # shard, offset, size
        names, labels = [], []
        for shard, file in enumerate(self._files):
            with tarfile.open(file, "r:") as tar:
                classes, pictures = {}, {}
                for member in tar:
                    folder, name = posixpath.split(member.name)
                    name, _, kind = name.partition(".")
                    key = posixpath.join(folder, name)
                    if is_hidden(member.name):
                        continue
                    if kind.lower() in _PICTURES:
                        pictures[key] = member
                    elif kind.lower() == "cls" and (text := tar.extractfile(member)) is not None:
                        classes[key] = text.read().decode(errors="replace").strip()
            for key, member in pictures.items():
                if not classes.get(key, "").isdecimal():
                    raise OSError(f"{file.name}: '{member.name}' needs a {key}.cls beside it with a number from 0 on")
                self._places.append((shard, member.offset_data, member.size))
                names.append(f"{file.name}/{member.name}")
                labels.append(int(classes[key]))
        self.listing = Listing(names, [size for *_, size in self._places], torch.tensor(labels, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[BinaryIO, int]:
        """A picture's file and class."""
        shard, offset, size = self._places[index]
        with self._files[shard].open("rb") as file:
            file.seek(offset)
            return io.BytesIO(file.read(size)), int(self.listing.labels[index])

    def filename(self, index: int, absolute: bool = False) -> str:
        """A picture's name, after that of its shard."""
        return self.listing.names[index]
