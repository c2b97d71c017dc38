from __future__ import annotations

import logging
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpus_files import sentences
from tokenizers import Tokenizer, models

from idinit.errors import UsageError
from idinit_suite.data.mlm.tokenizer import SPECIAL, first_ordinary, tokenizer_for, train_wordpiece


def ambiguous() -> list[str]:
    """Texts in which many pieces are equally frequent."""
    draw = random.Random(0)
    return [" ".join("".join(draw.choices("abcdefghij,", k=draw.randint(1, 9))) for _ in range(12)) for _ in range(300)]


def test_it_cuts_words_into_known_pieces() -> None:
    tokenizer = train_wordpiece(lambda: ["low lower lowest new newer newest"] * 10, 40)
    assert "".join(piece.removeprefix("##") for piece in tokenizer.encode("Lówest").tokens) == "lowest"
    assert tokenizer.encode("NEW low").tokens == ["new", "low"]
    assert tokenizer.encode("new 日").tokens == ["new", "[UNK]"]


def test_special_tokens_come_first_and_are_never_cut() -> None:
    tokenizer = train_wordpiece(lambda: sentences(50), 200)
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3, 4]
    assert first_ordinary(tokenizer) == 5
    assert tokenizer.encode("a [MASK] b").ids[1] == 4
    assert tokenizer.get_vocab_size() <= 200


def test_training_again_gives_the_same_entries_where_equals_must_be_left_out() -> None:
    # the library's trainer does not: it would give about five tokenizers of six
    texts = ambiguous()
    trained = {train_wordpiece(lambda: texts, size).to_str() for size in (150, 300) for _ in range(6)}
    assert len(trained) == 2
    assert sorted(Tokenizer.from_str(one).get_vocab_size() for one in trained) == [150, 300]


def test_letters_that_never_go_on_a_word_take_no_place() -> None:
    entries = train_wordpiece(lambda: ["ab, ab, b"] * 9, 100).get_vocab()
    assert entries.keys() - set(SPECIAL) == {",", "a", "b", "##b", "ab"}


def test_it_is_trained_once_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "tokenizer.json"
    first = tokenizer_for(None, tmp_path, 300, lambda: sentences(50), kept)

    def never() -> list[str]:
        raise AssertionError("it was trained again")

    assert tokenizer_for(None, tmp_path, 300, never, kept).to_str() == first.to_str() == Tokenizer.from_file(str(kept)).to_str()


def test_a_damaged_one_is_trained_again_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = tmp_path / "tokenizer.json"
    first = tokenizer_for(None, tmp_path, 300, lambda: sentences(50), kept)
    kept.write_text(kept.read_text()[:100])
    with caplog.at_level(logging.WARNING):
        assert tokenizer_for(None, tmp_path, 300, lambda: sentences(50), kept).to_str() == first.to_str()
    (warning,) = caplog.messages
    assert warning.startswith(f"{kept} is damaged (") and warning.endswith("): training the tokenizer again")
    assert Tokenizer.from_file(str(kept)).to_str() == first.to_str()


def test_of_two_processes_one_trains_and_both_have_it(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from idinit_suite.data.mlm.tokenizer import tokenizer_for
folder = Path(sys.argv[1])
def texts():
    (folder / "training").touch()
    time.sleep(1.0)
    return ["the cat sat on the mat"] * 20
tokenizer_for(None, folder, 100, texts, folder / "tokenizer.json")
"""

    def never() -> list[str]:
        raise AssertionError("both have trained")

    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as other:
        while not (tmp_path / "training").exists():
            assert other.poll() is None
            time.sleep(0.01)
        found = tokenizer_for(None, tmp_path, 100, never, tmp_path / "tokenizer.json")
    assert found.encode("mat").tokens == ["mat"]


def test_where_it_cannot_be_kept_it_is_used_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        found = tokenizer_for(None, tmp_path, 300, lambda: sentences(50), tmp_path / "file" / "tokenizer.json")
    assert found.to_str() == train_wordpiece(lambda: sentences(50), 300).to_str()
    assert "cannot keep" in caplog.text


def test_a_given_one_is_taken_from_the_data_root(tmp_path: Path) -> None:
    given = train_wordpiece(lambda: sentences(50), 150)
    given.enable_truncation(8)
    given.save(str(tmp_path / "mine.json"))
    found = tokenizer_for("mine.json", tmp_path, 300, list, tmp_path / "unused")
    assert found.get_vocab() == given.get_vocab()
    assert len(found.encode(" ".join(["ka"] * 30)).ids) >= 30  # nothing is cut off
    assert not (tmp_path / "unused").exists()


def test_one_that_is_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.tokenizer=nobody/nothing.*data\.tokenizer=null"):
        tokenizer_for("nobody/nothing", tmp_path, 300, list, tmp_path / "unused")


def test_one_that_was_downloaded_needs_no_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base = Path(constants.HF_HUB_CACHE) / "models--somebody--bert"
    (base / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("0" * 40)
    given = train_wordpiece(lambda: sentences(50), 150)
    given.save(str(base / "snapshots" / ("0" * 40) / "tokenizer.json"))
    assert tokenizer_for("somebody/bert", tmp_path, 300, list, tmp_path / "unused").get_vocab() == given.get_vocab()
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        tokenizer_for("nobody/nothing", tmp_path, 300, list, tmp_path / "unused")


def test_one_without_the_special_tokens_is_refused(tmp_path: Path) -> None:
    Tokenizer(models.WordPiece({"[UNK]": 0, "[PAD]": 1, "a": 2}, unk_token="[UNK]")).save(str(tmp_path / "other.json"))
    with pytest.raises(UsageError, match=r"other\.json .*\[CLS\], \[SEP\], \[MASK\]"):
        tokenizer_for("other.json", tmp_path, 300, list, tmp_path / "unused")
