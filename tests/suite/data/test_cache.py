from __future__ import annotations

import hashlib
import logging
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from idinit_suite.data import cache

ARRAYS = {"images": torch.arange(4000, dtype=torch.uint8).reshape(10, 400), "labels": torch.arange(10)}


class Build:
    """Builds, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> cache.Content:
        self.calls += 1
        return {name: array.clone() for name, array in ARRAYS.items()}, {"mean": [0.1, 1 / 3], "source": "digits"}


def assert_sound(content: cache.Content) -> None:
    arrays, facts = content
    assert arrays.keys() == ARRAYS.keys()
    assert all(torch.equal(arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert facts["mean"] == [0.1, 1 / 3]
    assert facts["source"] == "digits"
    assert facts["checksum"] == cache.checksum(ARRAYS)


def test_checksum_is_sha256_over_names_shapes_types_and_bytes() -> None:
    array = torch.tensor([[1, 2]], dtype=torch.uint8)
    assert cache.checksum({"a": array}) == hashlib.sha256(b"a(1, 2)torch.uint8\x01\x02").hexdigest()
    assert cache.checksum({"a": array}) != cache.checksum({"a": array.T})
    assert cache.checksum({"a": array, "b": array + 1}) == cache.checksum({"b": array + 1, "a": array})


def test_the_second_call_loads_what_the_first_has_built(tmp_path: Path) -> None:
    build, path = Build(), tmp_path / "new" / "digits.safetensors"
    assert_sound(cache.cached(path, build))
    assert_sound(cache.cached(path, build))
    assert build.calls == 1


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def altered_pixel(content: bytes) -> bytes:
    return content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:]


def altered_fact(content: bytes) -> bytes:
    return content.replace(b"0.1", b"0.2")


def altered_header(content: bytes) -> bytes:
    return struct.pack("<Q", 2**40) + content[8:]


def another_file(content: bytes) -> bytes:
    header = b'{"images":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    return struct.pack("<Q", len(header)) + header + b"\0"


@pytest.mark.parametrize("damage", [cut, empty, altered_pixel, altered_fact, altered_header, another_file])
def test_a_damaged_file_is_noticed_and_built_again(tmp_path, caplog, damage) -> None:
    build, path = Build(), tmp_path / "digits.safetensors"
    cache.cached(path, build)
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        assert_sound(cache.cached(path, build))
    assert build.calls == 2
    assert [f"{path} is damaged" in record.getMessage() for record in caplog.records] == [True]
    assert_sound(cache.cached(path, build))
    assert build.calls == 2


def test_a_full_disk_costs_the_cache_and_nothing_else(tmp_path, caplog) -> None:
    build, path = Build(), tmp_path / "digits.safetensors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # writing more fails, as on a full disk
    try:
        with caplog.at_level(logging.WARNING):
            assert_sound(cache.cached(path, build))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot keep {tmp_path}" in caplog.text
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []


def test_a_read_only_folder_costs_the_cache_and_nothing_else(tmp_path, caplog) -> None:
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        assert_sound(cache.cached(tmp_path / "file" / "digits.safetensors", Build()))
    assert f"cannot keep {tmp_path}" in caplog.text


def test_of_two_processes_one_builds_and_both_have_the_data(tmp_path) -> None:
    program = """
import sys, time, torch
from pathlib import Path
from idinit_suite.data import cache
folder = Path(sys.argv[1])
def build():
    (folder / "building").touch()
    time.sleep(1.0)
    return {"a": torch.arange(5)}, {}
cache.cached(folder / "data.safetensors", build)
"""
    build = Build()
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as other:
        while not (tmp_path / "building").exists():
            assert other.poll() is None
            time.sleep(0.01)
        arrays, _ = cache.cached(tmp_path / "data.safetensors", build)
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4]
    assert build.calls == 0


def test_decoded_data_lies_beside_the_data_or_in_the_users_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    root = tmp_path / "root"
    assert cache.folder(root) == root / ".cache"  # neither exists yet
    root.mkdir()
    assert cache.folder(root) == root / ".cache"
    root.chmod(0o555)
    assert cache.folder(root) == tmp_path / "user" / "idinit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder(root) == Path.home() / ".cache" / "idinit"
