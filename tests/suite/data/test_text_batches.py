from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from text_files import LABELS, TEXTS, write_texts

from idinit.errors import UsageError
from idinit_suite.data import DATASETS, DataContext, Sentences
from idinit_suite.data.text.batches import PADDING, UNKNOWN, TextBatches, vocabulary_of


def make(root: Path, name: str = "sst2", seed: int = 0, **options: Any) -> TextBatches:
    world = {key: options.pop(key) for key in ("rank", "world_size") if key in options}
    options = {"batch_size": 4, "length": 8, "min_count": 1, **options}
    built = DATASETS[name].build(DataContext(root, seed, **world), **DATASETS.check(name, options))
    assert isinstance(built, TextBatches)
    return built


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_texts(tmp_path)
    return tmp_path


def test_the_vocabulary_is_sorted_by_count_and_then_by_the_alphabet() -> None:
    texts = [["b", "a", "c"], ["b", "c"], ["d", "b"]]
    assert vocabulary_of(texts, 1) == ["<padding>", "<unknown>", "b", "c", "a", "d"]
    assert vocabulary_of(texts, 2) == ["<padding>", "<unknown>", "b", "c"]


def test_words_are_numbered_and_padded(tmp_path: Path) -> None:
    folder = write_texts(tmp_path)
    (folder / "test.jsonl").write_text('{"text": "A Good unheard-of plot", "label": 1}\n{"text": "film", "label": 0}\n')
    data = make(tmp_path)
    vocabulary = vocabulary_of((text.split() for text in 2 * TEXTS), 1)
    (((words,), labels),) = data.evaluation_batches("test")
    number = {word: vocabulary.index(word) for word in ("a", "good", "plot", "film")}
    assert words.tolist() == [
        [number["film"], PADDING, PADDING, PADDING],
        [number["a"], number["good"], UNKNOWN, number["plot"]],
    ]
    assert labels.tolist() == [0, 1]


def test_the_vocabulary_is_of_the_training_split_only(tmp_path: Path) -> None:
    folder = write_texts(tmp_path)
    before = make(tmp_path).spec.vocabulary
    (folder / "test.jsonl").write_text('{"text": "many words never seen before", "label": 1}\n')
    assert make(tmp_path).spec.vocabulary == before


def test_an_epoch_holds_every_text_once_and_a_batch_is_a_function_of_seed_and_step(root: Path) -> None:
    data = make(root)
    batches = [data.train_batch(step) for step in range(6)]
    for epoch in (batches[:3], batches[3:]):
        seen = sorted(
            (tuple(row[row > 0].tolist()), int(label)) for (words,), y in epoch for row, label in zip(words, y, strict=True)
        )
        assert len(seen) == 12 and len(set(seen)) == 6
    again = make(root)
    for step in (5, 0, 3):
        (words,), labels = again.train_batch(step)
        assert torch.equal(words, batches[step][0][0]) and torch.equal(labels, batches[step][1])


def test_processes_share_batches_and_splits(root: Path) -> None:
    whole = make(root)
    shares = [make(root, rank=rank, world_size=2) for rank in range(2)]
    words = [row[row > 0].tolist() for row in whole.train_batch(1)[0][0]]
    assert [row[row > 0].tolist() for part in shares for row in part.train_batch(1)[0][0]] == words
    counts = [sum(len(y) for _, y in part.evaluation_batches("test")) for part in shares]
    assert counts == [3, 3]
    assert sum(int(y.sum()) for part in shares for _, y in part.evaluation_batches("test")) == sum(LABELS)


def test_trec_holds_out_questions_by_a_seed_that_is_not_the_runs(tmp_path: Path) -> None:
    write_texts(tmp_path, "trec6", copies=4, splits=("train", "test"))
    held = []
    for seed, split_seed in ((0, 0), (1, 0), (0, 1)):
        data = make(tmp_path, "trec6", seed, validation=4, split_seed=split_seed)
        assert data.splits == {"train": 20, "test": 6, "validation": 4}
        held.append([row.tolist() for (words,), _ in data.evaluation_batches("validation") for row in words])
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize(("name", "validation"), [("trec6", 0), ("trec6", None), ("sst2", 0)])
def test_nothing_held_out_is_no_split(tmp_path: Path, name: str, validation: int | None) -> None:
    write_texts(tmp_path, name)
    data = make(tmp_path, name, validation=validation)
    assert data.splits == {"train": 12, "test": 6}


def test_random_vectors_are_kims_and_follow_the_seed(root: Path) -> None:
    vectors = make(root, width=5000).spec.vectors
    assert vectors[PADDING].eq(0).all()
    rest = vectors[1:]
    assert rest.abs().max() <= 0.25 and rest.std().item() == pytest.approx(0.25 / 3**0.5, rel=0.02)
    assert torch.equal(vectors, make(root, width=5000).spec.vectors)
    assert not torch.equal(vectors, make(root, seed=1, width=5000).spec.vectors)


def test_pretrained_vectors_stand_where_their_words_do(root: Path) -> None:
    (root / "vectors").mkdir()
    (root / "vectors" / "mine.txt").write_text("good 1 2 3\nfilm 4 5 6\nelsewhere 7 8 9\n")
    data = make(root, vectors="mine.txt")
    vocabulary = vocabulary_of((text.split() for text in 2 * TEXTS), 1)
    assert data.spec.vectors[vocabulary.index("good")].tolist() == [1, 2, 3]
    assert data.spec.vectors[vocabulary.index("film")].tolist() == [4, 5, 6]
    assert (
        data.source == make(root).source == "SST-2 (sentences) (other data: 12 train, 6 validation, 6 test)"
    )  # runs of one source are compared
    assert data.facts == {"words_with_vectors": 0.222} and make(root).facts == {}
    assert data.checksum != make(root).checksum
    assert data.checksum == make(root, seed=1, vectors="mine.txt").checksum
    with pytest.raises(UsageError, match=r"data\.width=100, .*data\.vectors=mine\.txt .* 3 "):
        make(root, vectors="mine.txt", width=100)


def test_a_text_longer_than_the_model_takes_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match=r"train, text 1: 4 words, .*data\.length=3"):
        make(root, length=3)


def test_the_spec_says_what_a_model_needs(root: Path) -> None:
    spec = make(root).spec
    assert isinstance(spec, Sentences)
    assert (spec.vocabulary, spec.length, spec.padding, spec.num_classes) == (9, 8, PADDING, 2)
    assert spec.vectors.shape == (9, 100)
