from __future__ import annotations

import re
from pathlib import Path

import pytest
from text_files import LABELS, TEXTS, write_texts

from idinit.errors import UsageError
from idinit_suite.data.locate import resolve
from idinit_suite.data.text.datasets import TEXT_SETS, from_columns, read_jsonl, titled


def test_the_data_root_is_read(tmp_path: Path) -> None:
    write_texts(tmp_path)
    splits = resolve("sst2", TEXT_SETS["sst2"].places("sst2"), tmp_path).read()
    assert list(splits) == ["train", "validation", "test"]
    assert splits["test"] == list(zip(TEXTS, LABELS, strict=True))
    assert len(splits["train"]) == 2 * len(TEXTS)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "caf\xe9", "label": 0}', "line 2: not UTF-8 (byte 14): convert the file"),
        (b'{"text": " ", "label": 0}', "line 2: the text is empty"),
        (b'{"text": "fine", "label": 2}', "line 2: the label is 2, and there are 2 classes, from 0"),
        (b'{"text": "fine", "label": -1}', "line 2: the label is -1"),
        (b'{"text": "fine", "label": "positive"}', "line 2: the label is 'positive'"),
        (b'{"text": "fine"}', "line 2: not an object with 'text' and 'label'"),
        (b'["fine", 0]', "line 2: not an object with 'text' and 'label'"),
        (b'{"text": "fine"', "cannot be read (line 2 is not JSON"),
    ],
)
def test_a_bad_line_is_told(tmp_path: Path, line: bytes, problem: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"text": "fine", "label": 1}\n' + line + b"\n")
    with pytest.raises(UsageError) as caught:
        read_jsonl(path, 2)
    assert problem in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "fine", "label": 1}\n\n{"text": "bad", "label": 0}\n\n')
    assert read_jsonl(path, 2) == [("fine", 1), ("bad", 0)]


@pytest.mark.parametrize("name", TEXT_SETS)
def test_a_set_of_another_size_is_called_other_data(name: str) -> None:
    text_set = TEXT_SETS[name]
    assert titled(text_set, dict(zip(text_set.splits, text_set.sizes, strict=False))) == text_set.title
    other = titled(text_set, dict.fromkeys(text_set.splits, 7))
    assert other == text_set.title if text_set.made else other.startswith(f"{text_set.title} (other data: 7 train")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_empty_file_is_told(tmp_path: Path, split: str) -> None:
    path = write_texts(tmp_path) / f"{split}.jsonl"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=rf"^{re.escape(str(path))} is empty"):
        resolve("sst2", TEXT_SETS["sst2"].places("sst2"), tmp_path).read()


def test_a_split_that_is_missing_beside_the_others_is_not_passed_over(tmp_path: Path) -> None:
    folder = write_texts(tmp_path)
    (folder / "validation.jsonl").unlink()
    with pytest.raises(UsageError, match=r"validation\.jsonl .*missing"):
        resolve("sst2", TEXT_SETS["sst2"].places("sst2"), tmp_path)


@pytest.mark.parametrize("name", ["sst2", "sst5", "trec6"])
def test_not_found_names_every_place_and_the_remedy(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(name, TEXT_SETS[name].places(name), tmp_path, f"text/{name}/")
    message = str(caught.value)
    assert f"(1) data root: there is no {tmp_path / 'text' / name / 'train.jsonl'}" in message
    assert f"(2) Hugging Face hub, {TEXT_SETS[name].repository}: Couldn't reach" in message
    assert "DATA=" in message and f"text/{name}/" in message and "\n" not in message


def test_rows_of_the_hub_are_read_through_datasets(tmp_path: Path) -> None:
    from datasets import load_dataset

    write_texts(tmp_path, "trec6", splits=("train", "test"))
    # datasets reads a folder in the same way as a repository on the hub
    loaded = load_dataset(str(tmp_path / "text" / "trec6"), cache_dir=str(tmp_path / "cache"))
    loaded = loaded.rename_column("label", TEXT_SETS["trec6"].label)
    splits = from_columns(loaded, "SetFit/TREC-QC", TEXT_SETS["trec6"])
    assert splits["test"] == list(zip(TEXTS, LABELS, strict=True))
