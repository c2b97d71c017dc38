from __future__ import annotations

from pathlib import Path

import pytest
from corpus_files import sentences
from tokenizers import Tokenizer, models

from idinit.data.tokenizer import SPECIAL, first_ordinary, tokenizer_for, train_wordpiece
from idinit.errors import UsageError


def test_it_cuts_words_into_known_pieces() -> None:
    tokenizer = train_wordpiece(["low lower lowest new newer newest"] * 10, 40)
    assert "".join(piece.removeprefix("##") for piece in tokenizer.encode("Lówest").tokens) == "lowest"
    assert tokenizer.encode("NEW low").tokens == ["new", "low"]
    assert tokenizer.encode("new 日").tokens == ["new", "[UNK]"]


def test_special_tokens_come_first_and_are_never_cut() -> None:
    tokenizer = train_wordpiece(sentences(50), 200)
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3, 4]
    assert first_ordinary(tokenizer) == 5
    assert tokenizer.encode("a [MASK] b").ids[1] == 4
    assert tokenizer.get_vocab_size() <= 200


def test_training_again_gives_the_same_numbers() -> None:
    # the library's trainer does not
    assert len({train_wordpiece(sentences(200), 300).to_str() for _ in range(4)}) == 1


def test_it_is_trained_once_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "tokenizer.json"
    first = tokenizer_for(None, tmp_path, 300, lambda: sentences(50), kept)

    def never() -> list[str]:
        raise AssertionError("it was trained again")

    assert tokenizer_for(None, tmp_path, 300, never, kept).to_str() == first.to_str() == Tokenizer.from_file(str(kept)).to_str()


def test_a_given_one_is_taken_from_the_data_root(tmp_path: Path) -> None:
    given = train_wordpiece(sentences(50), 150)
    given.enable_truncation(8)
    given.save(str(tmp_path / "mine.json"))
    found = tokenizer_for("mine.json", tmp_path, 300, list, tmp_path / "unused")
    assert found.get_vocab() == given.get_vocab()
    assert len(found.encode(" ".join(["ka"] * 30)).ids) >= 30  # nothing is cut off
    assert not (tmp_path / "unused").exists()


def test_one_that_is_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data.tokenizer=nobody/nothing: neither a tokenizer file .* leave it out"):
        tokenizer_for("nobody/nothing", tmp_path, 300, list, tmp_path / "unused")


def test_one_without_the_special_tokens_is_refused(tmp_path: Path) -> None:
    Tokenizer(models.WordPiece({"[UNK]": 0, "[PAD]": 1, "a": 2}, unk_token="[UNK]")).save(str(tmp_path / "other.json"))
    with pytest.raises(UsageError, match=r"other.json has no \[CLS\], \[SEP\], \[MASK\]"):
        tokenizer_for("other.json", tmp_path, 300, list, tmp_path / "unused")
