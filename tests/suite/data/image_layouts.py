"""Tiny image sets written to disk in every layout in which people have them."""

from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from idinit_suite.data.readers import Decoded


def tiny(channels: int = 3, side: int = 32, train: int = 40, test: int = 20, num_classes: int = 10) -> Decoded:
    """Random images; labels go round the classes."""
    random = torch.Generator().manual_seed(0)
    sizes = {"train": train, "test": test}
    return Decoded(
        {
            split: torch.randint(256, (size, channels, side, side), generator=random, dtype=torch.uint8)
            for split, size in sizes.items()
        },
        {split: torch.arange(size) % num_classes for split, size in sizes.items()},
        tuple(f"class {number}" for number in range(num_classes)),
    )


def write_parquet(
    folder: Path, content: Decoded, image: str = "img", label: str = "label", kind: str = "PNG", shards: int = 1
) -> None:
    """The layout of the Hugging Face hub."""
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        rows = []
        for pixels in content.images[split].permute(0, 2, 3, 1).numpy():
            file = io.BytesIO()
            Image.fromarray(pixels.squeeze()).save(file, kind)
            rows.append({"bytes": file.getvalue(), "path": None})
        info = {"info": {"features": {label: {"names": list(content.classes), "_type": "ClassLabel"}}}}
        table = pa.table({image: rows, label: content.labels[split].tolist()})
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        for shard, chosen in enumerate(np.array_split(np.arange(len(rows)), shards)):
            pq.write_table(table.take(chosen), folder / f"{split}-{shard:05}-of-{shards:05}.parquet")


def write_idx(folder: Path, content: Decoded, compress: bool) -> None:
    """The layout of MNIST and its successors."""
    folder.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        arrays = {"images-idx3": content.images[split].squeeze(1).numpy(), "labels-idx1": content.labels[split].numpy()}
        for name, array in arrays.items():
            header = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
            data = header + array.astype(np.uint8).tobytes()
            path = folder / f"{prefix}-{name}-ubyte{'.gz' if compress else ''}"
            path.write_bytes(gzip.compress(data) if compress else data)
