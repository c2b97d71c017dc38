from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from idinit.errors import UsageError
from idinit_suite.data.labels import number_labels
from idinit_suite.data.rows import Rows, read_rows

FILMS = [{"review": 'a "good", film\nreally', "stars": "5"}, {"review": "NA", "stars": "1"}, {"review": "naïve", "stars": "5"}]


def csv_of(separator: str, **options: Any) -> bytes:
    return pd.DataFrame(FILMS).to_csv(sep=separator, index=False, **options).encode()


FILES = {
    "a.csv": csv_of(","),
    "spaces.csv": b"review, stars " + csv_of(",").removeprefix(b"review,stars"),
    "bom.csv": b"\xef\xbb\xbf" + csv_of(","),
    "windows.CSV": csv_of(",", lineterminator="\r\n"),
    "blank-last-line.csv": csv_of(",") + b"\n\n",
    "a.tsv": csv_of("\t"),
    "a.jsonl": "\n".join(map(json.dumps, FILMS)).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + "\n".join(map(json.dumps, FILMS)).encode() + b"\n\n \n",
    "a.json": json.dumps(FILMS).encode(),
    "bom.json": b"\xef\xbb\xbf" + json.dumps(FILMS).encode(),
    "lines.json": "\n".join(map(json.dumps, FILMS)).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_tables_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    rows = read_rows(tmp_path / name)
    assert {name: list(cells) for name, cells in rows.columns.items()} == {
        key: [film[key] for film in FILMS] for key in ("review", "stars")
    }
    assert len(rows) == 3


def test_parquet_is_read(tmp_path: Path) -> None:
    pd.DataFrame(FILMS).to_parquet(tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet").columns["review"] == [film["review"] for film in FILMS]


@pytest.mark.parametrize("name", ["a.csv", "bom.jsonl"])
def test_rows_know_their_lines(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    first = 2 if name.endswith("csv") else 1
    numbers = [first, first + 2, first + 3] if name.endswith("csv") else [1, 2, 3]  # the first text has a line break
    assert [read_rows(tmp_path / name).where(index) for index in range(3)] == [f"{tmp_path / name}, line {n}" for n in numbers]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"review,stars\n", "is empty"),
        ("a.csv", b"review,stars\na film,5\na bad, bad film,1\n", "line 3: 3 cells, and the first line names 2 columns"),
        ("a.csv", b"review,stars\na film\n", "line 2: 1 cell,"),
        ("a.csv", b"review;stars\na film;5\n", "one column, 'review;stars'"),
        ("a.tsv", b"review,stars\na film,5\n", "one column, 'review,stars'"),
        ("a.csv", b"review,review\na,b\n", "two columns have one name: review, review"),
        ("a.csv", b'review,stars\n"a film,5\n', "cannot be read (line 2"),
        ("a.csv", b"review,stars\na,1\ncaf\xe9,5\n", "line 3: not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: not an object"),
        ("a.json", b'{"a": [1]', "line 1 is not JSON"),
        ("a.json", b"3", "is not a list of objects"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.xlsx", b"PK", "a table ends in one of .csv, .tsv"),
    ],
)
def test_a_bad_file_gets_one_line_that_names_it(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_rows(tmp_path / name)
    assert problem in str(caught.value) and str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv"):
        read_rows(tmp_path / "none.csv")


def table(*labels: Any, source: str = "my.csv") -> Rows:
    return Rows(source, {"label": labels}, range(1, len(labels) + 1))


@pytest.mark.parametrize(
    ("labels", "numbers", "classes"),
    [
        (["b", "a", " b "], [1, 0, 1], ("a", "b")),
        (["10", "9", "10"], [1, 0, 1], ("9", "10")),
        ([1, 2.0, "1"], [0, 1, 0], ("1", "2")),
        ([0.5, 1.5, 0.5], [0, 1, 0], ("0.5", "1.5")),
        ([True, False, True], [1, 0, 1], ("0", "1")),
        (["1", "one", "1"], [0, 1, 0], ("1", "one")),
        (["1_1", "11", "1_1"], [1, 0, 1], ("11", "1_1")),
    ],
)
def test_labels_are_numbers_or_words(labels: list[Any], numbers: list[int], classes: tuple[str, ...]) -> None:
    found, names = number_labels({"train": table(*labels), "test": table(labels[0])}, "label")
    assert found["train"].tolist() == numbers and names == classes
    assert found["test"].tolist() == numbers[:1] and found["test"].dtype == torch.int64


def test_named_classes_keep_their_numbers() -> None:
    found, names = number_labels({"train": table(2, 0, 2)}, "label", ("x", "y", "z"))
    assert found["train"].tolist() == [2, 0, 2] and names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("train", "test", "problem"),
    [
        (["a", None, "b"], ["a"], "my.csv, row 2: the label is missing"),
        (["a", " ", "b"], ["a"], "my.csv, row 2: the label is missing"),
        ([1.0, float("nan"), 2.0], [1], "my.csv, row 2: the label is missing"),
        (["a", "b", "a"], ["a", "c"], "other.csv, row 2: the label 'c' does not occur in the training split"),
        (["a", "a", "a"], ["a"], "my.csv: every label ('label') is 'a', and a classifier needs two"),
        (["a", "b", "c"], ["a"], "my.csv: each of the 3 rows has a label of its own"),
        ([[1], [2], [1]], [[1]], "my.csv, row 1: the label has type list"),
    ],
)
def test_bad_labels_get_one_line(train: list[Any], test: list[Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        number_labels({"train": table(*train), "test": table(*test, source="other.csv")}, "label")
    assert problem in str(caught.value) and "\n" not in str(caught.value)
