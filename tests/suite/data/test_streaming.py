"""A stream of two collections, kept here as folders: `datasets` reads a folder as it reads a repository of the hub."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus_files import sentences

from idinit.errors import UsageError
from idinit_suite.config import check, compose
from idinit_suite.data import DATASETS, DataContext
from idinit_suite.data.mlm import packing
from idinit_suite.data.mlm import streaming as stream
from idinit_suite.data.mlm.hub import Collection, in_turn, mixed
from idinit_suite.data.mlm.streaming import StreamedBatches

BLOCK = 40  # texts: five batches
SMALL = {"batch_size": 8, "length": 32, "vocabulary": 300, "validation": 10, "block": BLOCK, "epoch_steps": 7}
PASS = 15  # batches, at most, of a pass over the larger collection


@pytest.fixture
def collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Collection, ...]:
    for name, seed in (("articles", 0), ("books", 1)):
        (tmp_path / name).mkdir()
        for part in range(2):
            lines = [json.dumps({"text": f"{name} {text}"}) for text in sentences(20, seed=10 * seed + part)]
            (tmp_path / name / f"train-{part}.jsonl").write_text("\n".join(lines))
    found = (Collection(str(tmp_path / "articles"), None, 3), Collection(str(tmp_path / "books"), None, 1, joined=4))
    monkeypatch.setattr(stream, "WIKIPEDIA_BOOKS", found)
    monkeypatch.setattr(stream, "_TRAINED_ON", 50)
    monkeypatch.setattr(packing, "_ENCODED_AT_ONCE", 7)  # or all would be read before the first step
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return found


def make(root: Path, seed: int = 0, **options: Any) -> StreamedBatches:
    checked = DATASETS.check("wikipedia_books", {**SMALL, "tokenizer": None, **options})
    built = DATASETS["wikipedia_books"].build(DataContext(root, seed), **checked)
    assert isinstance(built, StreamedBatches)
    return built


def assert_equal(one: Any, two: Any) -> None:
    assert torch.equal(one[0][0], two[0][0]) and torch.equal(one[0][1], two[0][1]) and torch.equal(one[1], two[1])


def pieces_of(texts: torch.Tensor) -> set[tuple[int, ...]]:
    """Every twelve tokens that follow one another, of texts of any length, cut at any place."""
    return {tuple(piece) for text in texts.tolist() for piece in zip(*(text[start:] for start in range(1, 13)), strict=False)}


def test_a_block_is_copied_to_the_device_once(
    collections: tuple[Collection, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, copied = make(tmp_path), []
    monkeypatch.setattr(DataContext, "to_device", lambda self, values: copied.append(len(values)) or values)
    for step in range(12):
        batches.train_batch(step)
    assert copied == [BLOCK] * 2  # the first block is there from the start; each is of five batches


def test_collections_are_mixed_by_size_and_rows_joined(collections: tuple[Collection, ...]) -> None:
    iterator = iter(mixed(collections, without=(0, 0)))
    texts = [next(iterator)["text"] for _ in range(200)]
    books = [text for text in texts if text.startswith("books")]
    assert 25 < len(books) < 75  # a quarter
    assert all(text.count("books") == 4 for text in books)
    assert all(text.count("articles") == 1 for text in texts if text not in books)


def test_collections_take_turns_by_size(collections: tuple[Collection, ...]) -> None:
    documents = list(in_turn(collections))
    assert [number for number, _ in documents[:8]] == [0, 0, 0, 1, 0, 0, 0, 1]
    assert len({text for _, text in documents}) == len(documents) == 40 + 10


def test_what_is_left_out_never_comes_again(collections: tuple[Collection, ...]) -> None:
    articles, books = ([text for of, text in in_turn(collections) if of == number] for number in range(2))
    held_out = {*articles[:9], *books[:3]}
    texts = [row["text"] for row in islice(mixed(collections, without=(9, 3)), 300)]
    assert len(held_out) == 12 and not held_out & set(texts)
    assert len(set(texts)) == 31 + 7 and max(map(texts.count, texts)) > 3  # in several passes


@pytest.mark.usefixtures("collections")
def test_a_stream_that_is_taken_up_again_goes_on_to_the_bit(tmp_path: Path) -> None:
    data = make(tmp_path)
    batches = [data.train_batch(step) for step in range(2 * PASS)]
    for stop in (0, 3, 4, 9, PASS, 2 * PASS - 3):
        broken = make(tmp_path)
        for step in range(stop + 1):
            broken.train_batch(step)
        state = broken.state_dict()
        again = make(tmp_path)
        again.load_state_dict(state)
        for step in range(stop + 1, 2 * PASS):
            assert_equal(again.train_batch(step), batches[step])


@pytest.mark.usefixtures("collections")
def test_a_state_is_what_a_checkpoint_can_hold(tmp_path: Path) -> None:
    data = make(tmp_path)
    data.train_batch(11)
    torch.save(data.state_dict(), tmp_path / "state.pt")
    again = make(tmp_path)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_equal(again.train_batch(12), data.train_batch(12))


PROCESS = """
import sys
from pathlib import Path
import torch
import torch.distributed as dist
from idinit_suite.data import DATASETS, DataContext
from idinit_suite.data.mlm import packing, streaming
from idinit_suite.data.mlm.hub import Collection

root, steps, options = Path(sys.argv[1]), int(sys.argv[2]), eval(sys.argv[3])
streaming.WIKIPEDIA_BOOKS = Collection(str(root / "articles"), None, 3), Collection(str(root / "books"), None, 1, joined=4)
streaming._TRAINED_ON, packing._ENCODED_AT_ONCE = 50, 7
encoded, encode = [], packing.Packer.encode
packing.Packer.encode = lambda self, documents: encoded.extend(documents) or encode(self, documents)

dist.init_process_group("gloo")
rank = dist.get_rank()
build = lambda: DATASETS["wikipedia_books"].build(DataContext(root, rank=rank, world_size=2), **options)
data, again = build(), build()
for stream in (data, again):
    stream._blocks._coming.result()  # what is read ahead
encoded.clear()
batches = [data.train_batch(step) for step in range(steps)]
data._blocks._coming.result()
read, state = list(encoded), data.state_dict()
again.load_state_dict(torch.load(root / "state.pt", weights_only=True))
later = [again.train_batch(step) for step in range(12, steps)]
torch.save((batches, later, state, read), root / f"rank{rank}.pt")
dist.barrier()
"""


@pytest.mark.usefixtures("collections")
def test_two_processes_tokenize_half_each_and_see_the_batches_of_one(tmp_path: Path) -> None:
    data = make(tmp_path)
    batches = [data.train_batch(step) for step in range(2 * PASS)]
    (tmp_path / "process.py").write_text(PROCESS)
    first = make(tmp_path)
    first.train_batch(11)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "process.py")]
    options = repr(DATASETS.check("wikipedia_books", {**SMALL, "tokenizer": None}))
    done = subprocess.run([*launch, str(tmp_path), str(2 * PASS), options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in range(2)]

    def together(one: Any, two: Any) -> Any:
        return tuple(map(torch.cat, zip(one[0], two[0], strict=True))), torch.cat([one[1], two[1]])

    for step, batch in enumerate(batches):
        assert_equal(together(*(rank[0][step] for rank in ranks)), batch)
        if step >= 12:  # gone on from what one process has saved
            assert_equal(together(*(rank[1][step - 12] for rank in ranks)), batch)
    one, two = (rank[2] for rank in ranks)
    assert one["stream"] == two["stream"] and torch.equal(one["rest"], two["rest"])
    again = make(tmp_path)
    again.load_state_dict(one)
    assert_equal(again.train_batch(2 * PASS), data.train_batch(2 * PASS))
    read = [len(rank[3]) for rank in ranks]
    assert min(read) > 50 and 3 * read[0] == 4 * read[1]  # four and three of seven documents


@pytest.mark.usefixtures("collections")
def test_steps_may_come_in_any_order(tmp_path: Path) -> None:
    data = make(tmp_path)
    batches = {step: data.train_batch(step) for step in (0, 12, 4, 5)}
    for step in (4, 12, 0, 5):
        assert_equal(make(tmp_path).train_batch(step), batches[step])


@pytest.mark.usefixtures("collections")
def test_the_documents_that_validate_are_not_trained_on(tmp_path: Path) -> None:
    data = make(tmp_path, batch_size=10)
    (((shown, positions), targets),) = data.evaluation_batches("validation")
    held_out = shown.scatter(1, positions, targets.view(10, -1))
    assert data.splits["validation"] == len(held_out) == 10
    pieces = pieces_of(held_out)
    assert len(pieces) > 100
    for step in range(3 * PASS):
        (tokens, places), answers = data.train_batch(step)
        assert not pieces & pieces_of(tokens.scatter(1, places, answers.view(10, -1)))
    assert data.steps_per_epoch == 7


def test_without_internet_it_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make(tmp_path, tokenizer="google-bert/bert-base-uncased")
    assert "data set 'wikipedia_books' was not found. Tried: Hugging Face hub: Couldn't reach" in str(caught.value)
    assert "data=corpus" in str(caught.value) and "\n" not in str(caught.value)


def test_the_smoke_budget_of_bert_base_reads_and_trains_little() -> None:
    data = check(compose(["experiment=bert-base", "budget=smoke"])).data
    assert data["batch_size"] <= 8 and data["validation"] <= 16 and data["block"] <= 64  # half an hour on two cores otherwise
    paper = check(compose(["experiment=bert-base", "budget=paper"])).data
    assert (paper["batch_size"], paper["validation"], paper["block"]) == (256, 4096, 65536)
