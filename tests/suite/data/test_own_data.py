from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from own_sets import build, image_folder
from picture_folders import write_pictures
from PIL import Image

from idinit.errors import UsageError
from idinit_suite.data import Images, Sentences

TEXTS = [("a good film", "good"), ("a bad film", "bad"), ("Not good: bad!", "bad"), ("good, good", "good")] * 10


@pytest.fixture(autouse=True)
def _hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hub")


def frame() -> pd.DataFrame:
    return pd.DataFrame(TEXTS, columns=["review", "stars"])


def texts(tmp_path: Path) -> dict[str, Any]:
    frame().to_csv(tmp_path / "train.csv", index=False)
    return {"train": str(tmp_path / "train.csv"), "text": "review", "label": "stars"}


def hub(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "tables").mkdir()
    frame().to_parquet(tmp_path / "tables" / "train.parquet")
    return {"path": str(tmp_path / "tables"), "text": "review", "label": "stars"}


def hub_of_pictures(tmp_path: Path) -> dict[str, Any]:
    rows = [
        {"img": {"bytes": path.read_bytes(), "path": None}, "label": path.parent.name}
        for path in sorted(write_pictures(tmp_path / "pictures", 10).rglob("*.*"))
    ]
    import datasets

    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("string")})
    (tmp_path / "tables").mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "tables" / "train.parquet")
    return {"path": str(tmp_path / "tables"), "size": 8}


def python(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "floats_of_mine.py").write_text(
        "import torch\n"
        "def make(count=40):\n"
        "    x = torch.randn(count, 3, 8, 8)\n"
        "    return torch.utils.data.TensorDataset(x, (x.mean((1, 2, 3)) > 0).long() + 1)\n"
    )
    return {"target": "floats_of_mine:make"}


OWN: dict[str, tuple[str, Callable[[Path], dict[str, Any]]]] = {
    "image_folder": ("image_folder", image_folder),
    "texts": ("texts", texts),
    "hub": ("hub", hub),
    "hub of pictures": ("hub", hub_of_pictures),
    "python": ("python", python),
}


@pytest.mark.parametrize("kind", OWN)
def test_what_lacks_is_held_out_and_every_example_is_in_one_split(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, write = OWN[kind]
    options = write(tmp_path)
    batches = build(name, tmp_path, **options)
    total = sum(batches.splits.values())
    assert batches.splits == {"train": total - 2 * (total // 10), "validation": total // 10, "test": total // 10}
    fewer = build(name, tmp_path, **options, validation=0.2, test=0, train_limit=8)
    assert fewer.splits == {"train": 8, "validation": round(0.2 * total)}
    assert batches.facts["classes"] == batches.spec.num_classes in (2, 3)  # type: ignore[union-attr]
    assert isinstance(batches.spec, Sentences if kind in ("texts", "hub") else Images)


@pytest.mark.parametrize("kind", OWN)
def test_the_same_batches_again_and_in_parts(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, write = OWN[kind]
    options = write(tmp_path)
    first, again = build(name, tmp_path, **options), build(name, tmp_path, **options)
    assert first.checksum == again.checksum
    parts = [build(name, tmp_path, rank, 2, **options) for rank in range(2)]
    for step in (0, 5, 3):
        (inputs,), labels = first.train_batch(step)
        (same,), same_labels = again.train_batch(step)
        assert torch.equal(inputs, same) and torch.equal(labels, same_labels)
        shares = [part.train_batch(step) for part in parts]
        assert torch.equal(torch.cat([share[1] for share in shares]), labels)
    for split, count in first.splits.items():
        counts = [sum(len(labels) for _, labels in part.evaluation_batches(split)) for part in parts]
        assert sum(counts) == count and max(counts) - min(counts) <= 1


def test_pictures_and_labels_belong_together(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    for number, name in enumerate("abc"):
        (folder / name).mkdir(parents=True)
        for index in range(10):
            Image.new("RGB", (9, 7), (80 * number, 10 * index, 9)).save(folder / name / f"{index}.png")
        Image.new("RGB", (9, 7), (0, 0, 200)).save(folder / name / "z.png")
    batches = build("image_folder", tmp_path, folder=str(folder), size=4, crop=0, flip=False)
    red = batches._mean[0], batches._std[0]  # type: ignore[attr-defined]
    for split in batches.splits:
        for (images,), labels in batches.evaluation_batches(split):
            levels = ((images[:, 0, 0, 0] * red[1] + red[0]) * 255).round()
            kept = ((images[:, 2, 0, 0] * batches._std[2] + batches._mean[2]) * 255).round() == 9  # type: ignore[attr-defined]
            assert torch.equal(levels[kept], 80.0 * labels[kept])


def test_pictures_that_a_table_names_are_decoded_again_when_they_change(tmp_path: Path) -> None:
    files = sorted(write_pictures(tmp_path / "tables" / "pictures", 6).rglob("*.*"))
    rows = pd.DataFrame({"img": [str(path) for path in files], "label": [path.parent.name for path in files]})
    rows.to_json(tmp_path / "tables" / "train.jsonl", orient="records", lines=True)
    options = {"path": str(tmp_path / "tables"), "image": "img", "label": "label", "size": 8}
    before = build("hub", tmp_path, **options)
    assert build("hub", tmp_path, **options).checksum == before.checksum
    Image.new("RGB", (12, 12), (1, 2, 3)).save(files[0])
    assert build("hub", tmp_path, **options).checksum != before.checksum


def test_splits_that_are_there_are_taken(tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 3), ("test", 2)):
        write_pictures(tmp_path / "pictures" / split, count, ("cat", "dog"), seed=count)
    options = {"folder": str(tmp_path / "pictures"), "size": 8}
    assert build("image_folder", tmp_path, **options).splits == {"train": 16, "validation": 6, "test": 4}
    assert build("image_folder", tmp_path, **options, validation=2).splits == {"train": 14, "validation": 2, "test": 4}
    shutil.rmtree(tmp_path / "pictures" / "test")
    assert build("image_folder", tmp_path, **options).splits == {"train": 14, "validation": 6, "test": 2}


def test_texts_in_files_of_their_own(tmp_path: Path) -> None:
    options = texts(tmp_path)
    frame()[:6].to_json(tmp_path / "dev.jsonl", orient="records", lines=True)
    frame()[:4].to_csv(tmp_path / "test.tsv", index=False, sep="\t")
    batches = build("texts", tmp_path, **options, validation=str(tmp_path / "dev.jsonl"), test=str(tmp_path / "test.tsv"))
    assert batches.splits == {"train": 40, "validation": 6, "test": 4}
    assert batches.source == "train.csv, dev.jsonl, test.tsv"


def test_words_and_marks_are_taken_apart_and_long_texts_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    batches = build("texts", tmp_path, **texts(tmp_path), length=4, min_count=1)
    assert batches.spec.vocabulary == 2 + len({"a", "good", "bad", "film", "not", ":", ","})  # type: ignore[union-attr]
    assert "10 of 40 texts have more than data.length=4 words" in caplog.text


def test_columns_are_found_where_only_one_can_be_meant(tmp_path: Path) -> None:
    table = frame().rename(columns={"stars": "label"})
    table.assign(id=range(40)).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    assert build("texts", tmp_path, train=str(tmp_path / "a.jsonl")).splits["train"] == 32
    table.rename(columns={"review": "body"}).assign(title="a title").to_csv(tmp_path / "two.csv", index=False)
    with pytest.raises(UsageError, match=r"two\.csv.*data\.text=COLUMN.*body, label, title"):
        build("texts", tmp_path, train=str(tmp_path / "two.csv"))
    table.assign(review=[["a list"], *table["review"][1:]]).to_json(tmp_path / "cell.jsonl", orient="records", lines=True)
    with pytest.raises(UsageError, match=r"cell\.jsonl, line 1: the text has type list"):
        build("texts", tmp_path, train=str(tmp_path / "cell.jsonl"))
    frame().assign(other=1).to_csv(tmp_path / "none.csv", index=False)
    with pytest.raises(UsageError, match=r"none\.csv.*data\.label=COLUMN.*review, stars, other"):
        build("texts", tmp_path, train=str(tmp_path / "none.csv"))


def test_labels_are_not_the_texts_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.text and data\.label.*'stars'"):
        build("texts", tmp_path, **{**texts(tmp_path), "text": "stars"})


def test_a_share_above_one_is_refused_by_the_name_of_its_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'validation=1\.5'"):
        build("texts", tmp_path, **texts(tmp_path), validation=1.5)


@pytest.mark.parametrize(("option", "value"), [("text", "reviw"), ("label", "star")])
def test_a_wrong_column_lists_the_others(tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(UsageError, match=rf"train\.csv .*'{value}'.*review, stars"):
        build("texts", tmp_path, **{**texts(tmp_path), option: value})


def test_a_split_of_the_hub_without_labels_is_not_the_test_split(tmp_path: Path) -> None:
    options = hub(tmp_path)
    frame().assign(stars=None).astype({"stars": "string"}).to_parquet(tmp_path / "tables" / "test.parquet")
    assert build("hub", tmp_path, **options).splits == {"train": 32, "validation": 4, "test": 4}


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_local_folders_of_tables(tmp_path: Path, kind: str) -> None:
    (tmp_path / "tables").mkdir()
    if kind == "csv":
        (tmp_path / "tables" / "train.csv").write_bytes(b"\xef\xbb\xbf" + frame().to_csv(index=False).encode())
    else:
        frame().to_json(tmp_path / "tables" / f"train.{kind}", orient="records", lines=kind == "jsonl")
    batches = build("hub", tmp_path, path=str(tmp_path / "tables"), text="review", label="stars")
    assert batches.splits["train"] == 32 and batches.source == "tables"


def test_a_set_that_the_hub_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.path=nobody/nothing .*OWNER/NAME"):
        build("hub", tmp_path, path="nobody/nothing")


def test_a_column_of_bytes_and_paths_holds_pictures_and_one_of_numbers_none(tmp_path: Path) -> None:
    files = sorted(write_pictures(tmp_path / "pictures", 10).rglob("*.*"))
    rows = [{"picture": {"bytes": file.read_bytes(), "path": None}, "label": file.parent.name, "id": 1} for file in files]
    (tmp_path / "tables").mkdir()
    pd.DataFrame(rows).to_parquet(tmp_path / "tables" / "train.parquet")
    assert isinstance(build("hub", tmp_path, path=str(tmp_path / "tables"), size=8).spec, Images)
    with pytest.raises(UsageError, match="train, row 1: the picture has type int"):
        build("hub", tmp_path, path=str(tmp_path / "tables"), image="id")


def test_tables_of_other_columns_in_one_folder_are_told(tmp_path: Path) -> None:
    options = hub(tmp_path)
    frame().rename(columns={"stars": "grade"}).to_parquet(tmp_path / "tables" / "test.parquet")
    with pytest.raises(UsageError, match="grade") as caught:
        build("hub", tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_a_file_in_place_of_a_folder_of_tables_is_told_where_it_belongs(tmp_path: Path) -> None:
    file = texts(tmp_path)["train"]
    with pytest.raises(UsageError, match=r"data=texts data\.train="):
        build("hub", tmp_path, path=file)


@pytest.mark.parametrize(
    ("ending", "write", "row"),
    [
        ("jsonl", lambda table, path: table.to_json(path, orient="records", lines=True), "line 7"),
        ("csv", lambda table, path: table.to_csv(path, index=False), "line 8"),
        ("parquet", lambda table, path: table.to_parquet(path), "row 7"),
    ],
)
@pytest.mark.parametrize("kind", ["object", "Int64", "float64"])
def test_null_labels_of_a_table_are_named(
    ending: str, write: Callable[[pd.DataFrame, Path], None], row: str, kind: str, tmp_path: Path
) -> None:
    labels = [label if kind == "object" else int(label == "good") for _, label in TEXTS]
    table = pd.DataFrame({"text": [text for text, _ in TEXTS], "label": pd.Series(labels, dtype=kind)})
    table.loc[6, "label"] = None
    write(table, tmp_path / f"a.{ending}")
    with pytest.raises(UsageError, match=rf"a.{ending}, {row}: the label is missing"):
        build("texts", tmp_path, train=str(tmp_path / f"a.{ending}"))


@pytest.mark.parametrize("kind", ["object", "Int64"])
def test_null_labels_of_a_folder_of_tables_are_named(kind: str, tmp_path: Path) -> None:
    labels = [label if kind == "object" else int(label == "good") for _, label in TEXTS]
    table = pd.DataFrame({"text": [text for text, _ in TEXTS], "label": pd.Series(labels, dtype=kind)})
    table.loc[6, "label"] = None
    (tmp_path / "tables").mkdir()
    table.to_parquet(tmp_path / "tables" / "train.parquet")
    with pytest.raises(UsageError, match=r"row 7: the label is missing"):
        build("hub", tmp_path, path=str(tmp_path / "tables"))
