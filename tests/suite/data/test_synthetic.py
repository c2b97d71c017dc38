import hashlib
import json
from collections import Counter

from idinit_suite.data.text.synthetic import NEGATIONS, SIZES, opinions


def outcome(text: str) -> int:
    """The class by the rule as the module's docstring has it, read off a text."""
    balance, negated = 0, False
    for word in text.split():
        if word in NEGATIONS:
            negated = True
            continue
        if not word.startswith("word"):
            balance += (1 if word.startswith("good") else -1) * (-1 if negated else 1)
        negated = False
    assert balance != 0
    return int(balance > 0)


def test_classes_follow_from_the_rule() -> None:
    for rows in opinions().values():
        assert all(outcome(text) == label for text, label in rows)


def test_splits_have_their_sizes_and_share_next_to_nothing() -> None:
    splits = opinions()
    assert {split: len(rows) for split, rows in splits.items()} == SIZES
    train = {text for text, _ in splits["train"]}
    assert len(train) > 2990
    assert sum(text in train for text, _ in splits["test"]) < 5
    shares = Counter(label for rows in splits.values() for _, label in rows)
    assert 0.45 < shares[1] / sum(shares.values()) < 0.55


def test_they_are_the_same_on_every_machine() -> None:
    splits = opinions()
    assert splits["test"][0] == ("word40 hardly bad2 never good5 word49 never bad1 hardly bad5", 1)
    assert hashlib.sha256(json.dumps(splits).encode()).hexdigest().startswith("8a924de0e9413979")
