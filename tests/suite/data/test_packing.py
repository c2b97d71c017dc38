from __future__ import annotations

import pytest
import torch
from corpus_files import sentences

from idinit_suite.data.mlm.packing import Packer
from idinit_suite.data.mlm.tokenizer import train_wordpiece

DOCUMENTS = sentences(700)
TOKENIZER = train_wordpiece(lambda: DOCUMENTS, 300)
CLS, SEP = 2, 3


def flat() -> list[int]:
    """All tokens, written down one document after another."""
    return [token for document in DOCUMENTS for token in [*TOKENIZER.encode(document, add_special_tokens=False).ids, SEP]]


def test_texts_are_the_documents_one_after_another() -> None:
    packer = Packer(TOKENIZER, 32)
    tokens = packer.encode(DOCUMENTS)
    texts, rest = packer.cut(tokens)
    assert texts.dtype == torch.int32 and texts.shape[1] == 32
    assert texts[:, 0].eq(CLS).all()
    assert tokens.tolist() == [*texts[:, 1:].flatten().tolist(), *rest.tolist()] == flat()
    assert len(rest) < 31
    assert torch.equal(packer.read(iter(DOCUMENTS)), texts)


@pytest.mark.parametrize("count", [1, 7, 500])
def test_no_more_is_read_than_is_needed(count: int) -> None:
    documents = iter(DOCUMENTS)
    texts = Packer(TOKENIZER, 32).read(documents, count)
    assert torch.equal(texts, Packer(TOKENIZER, 32).read(iter(DOCUMENTS))[:count]) and len(texts) == count
    assert len(list(documents)) >= (len(DOCUMENTS) - 256 if count < 500 else 0)


def test_no_document_makes_no_text() -> None:
    assert Packer(TOKENIZER, 32).read(iter([])).shape == (0, 32)
