from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from corpus_files import sentences, write_corpus
from tokenizers import Tokenizer, models

from idinit.errors import UsageError
from idinit_suite.data import DATASETS, DataContext, MaskedTokens
from idinit_suite.data.mlm.corpus import MaskedBatches, read_documents, split_documents


def make(root: Path, seed: int = 0, **options: Any) -> MaskedBatches:
    world = {key: options.pop(key) for key in ("rank", "world_size") if key in options}
    options = {"batch_size": 8, "length": 32, "vocabulary": 300, **options}
    built = DATASETS["corpus"].build(DataContext(root, seed, **world), **DATASETS.check("corpus", options))
    assert isinstance(built, MaskedBatches)
    return built


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_corpus(tmp_path)
    return tmp_path


def test_batches_have_one_shape_and_what_a_model_needs(root: Path) -> None:
    data = make(root)
    (tokens, positions), targets = data.train_batch(0)
    assert tokens.shape == (8, 32) and positions.shape == (8, 5) and targets.shape == (40,)
    assert tokens.dtype == positions.dtype == targets.dtype == torch.int64
    assert data.spec == MaskedTokens(238, 32, 0)  # there are no more pieces than that
    assert data.tokens_per_step == 256
    assert data.source == "corpus (train.txt, validation.txt)"
    assert [tensor.shape for tensor in data.example_inputs()] == [(2, 32), (2, 5)]


def test_hidden_files_are_no_texts(root: Path) -> None:
    expected = make(root)
    (root / "corpus" / "._train.txt").write_bytes(b"\xff\x00")
    (root / "corpus" / ".notes.txt").write_text("not to be read\n")
    data = make(root)
    assert data.source == expected.source and data.checksum == expected.checksum


def test_a_batch_is_a_function_of_seed_and_step(root: Path) -> None:
    batches = [make(root).train_batch(step) for step in range(4)]
    again = make(root)
    for step in (3, 0, 2):
        (tokens, positions), targets = again.train_batch(step)
        (expected, places), answers = batches[step]
        assert torch.equal(tokens, expected) and torch.equal(positions, places) and torch.equal(targets, answers)
    assert not torch.equal(make(root, seed=1).train_batch(0)[0][0], batches[0][0][0])


def test_a_text_is_masked_anew_in_each_epoch_and_alike_in_every_evaluation(root: Path) -> None:
    data = make(root)
    first = {tuple(t.tolist()) for step in range(data.steps_per_epoch) for t in data.train_batch(step)[0][1]}
    assert len(first) > 0.9 * data.steps_per_epoch * 8
    ones, twos = list(data.evaluation_batches("validation")), list(make(root, seed=7).evaluation_batches("validation"))
    assert all(torch.equal(one[0][0], two[0][0]) and torch.equal(one[1], two[1]) for one, two in zip(ones, twos, strict=True))
    assert sum(len(targets) for _, targets in ones) == 5 * data.splits["validation"]


def test_processes_share_batches_and_splits(root: Path) -> None:
    whole = make(root)
    shares = [make(root, rank=rank, world_size=2) for rank in range(2)]
    (tokens, positions), targets = whole.train_batch(3)
    parts = [share.train_batch(3) for share in shares]
    assert torch.equal(torch.cat([inputs[0] for inputs, _ in parts]), tokens)
    assert torch.equal(torch.cat([inputs[1] for inputs, _ in parts]), positions)
    assert torch.equal(torch.cat([answers for _, answers in parts]), targets)
    evaluated = [sum(len(y) for _, y in share.evaluation_batches("validation")) for share in shares]
    assert sum(evaluated) == 5 * whole.splits["validation"]


def test_what_was_tokenized_is_kept_until_a_file_changes(root: Path) -> None:
    before = make(root)
    kept = sorted((root / ".cache").iterdir())
    assert make(root).checksum == before.checksum
    assert sorted((root / ".cache").iterdir()) == kept
    (root / "corpus" / "train.txt").write_text("\n".join(sentences(100, seed=5)), encoding="utf-8")
    assert make(root).checksum != before.checksum


def test_without_a_validation_file_each_hundredth_document_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    documents = sentences(400)
    for number in range(2):
        (tmp_path / "books" / f"part-{number}.txt").write_text("\n\n".join(documents[200 * number : 200 * (number + 1)]))
    splits = split_documents(sorted((tmp_path / "books").iterdir()))
    assert splits["validation"] == documents[99::100]
    assert splits["train"] == [text for number, text in enumerate(documents) if number % 100 != 99]
    assert make(tmp_path, folder="books").source == "books (part-0.txt, part-1.txt)"


def test_the_number_of_padding_is_the_given_tokenizers(root: Path) -> None:
    tokens = ["[UNK]", "[CLS]", "[PAD]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "aeiou.")]
    entries = {token: number for number, token in enumerate(tokens)}
    Tokenizer(models.WordPiece(entries, unk_token="[UNK]")).save(str(root / "mine.json"))
    assert make(root).spec.padding == 0
    assert make(root, tokenizer="mine.json").spec.padding == 2


def test_bad_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'corpus'.*corpus/\*\.txt.*DATA="):
        make(tmp_path)
    path = tmp_path / "train.txt"
    path.write_bytes("fine\ncaf\xe9\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"train\.txt, line 2.*UTF-8 \(byte 4\)"):
        read_documents(path)
    path.write_text("\n \n")
    with pytest.raises(UsageError, match=r"train.txt is empty"):
        read_documents(path)


def test_a_byte_order_mark_and_blank_lines_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbffirst\n\n  second \n")
    assert read_documents(tmp_path / "train.txt") == ["first", "second"]


def test_too_few_texts_are_told(root: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.batch_size=4096 .* \d+ texts"):
        make(root, batch_size=4096)


def test_too_little_to_validate_is_told(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").write_text("\n".join(sentences(300)))  # three documents are held out
    with pytest.raises(UsageError, match=r"validation .*data\.length=500 "):
        make(tmp_path, length=500)


def test_a_corpus_may_have_fewer_words_than_the_vocabulary_has_entries(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.txt").write_text("the cat sat on the mat\n" * 1000)
    data = make(tmp_path, vocabulary=5000)
    assert 5 < data.spec.vocabulary < 60
    assert data.train_batch(0)[1].max() < data.spec.vocabulary
