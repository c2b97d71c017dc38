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
    texts = packer.read(iter(DOCUMENTS))
    assert texts.dtype == torch.int32 and texts.shape[1] == 32
    assert texts[:, 0].eq(CLS).all()
    assert [*texts[:, 1:].flatten().tolist(), *packer.rest.tolist()] == flat()
    assert len(packer.rest) < 31


@pytest.mark.parametrize("count", [1, 7, 500])
def test_reading_in_pieces_gives_the_same(count: int) -> None:
    packer, documents = Packer(TOKENIZER, 32), iter(DOCUMENTS)
    pieces = []
    while len(pieces) < 3:
        pieces.append(packer.read(documents, count))
        assert len(pieces[-1]) <= count
    assert torch.equal(torch.cat(pieces), Packer(TOKENIZER, 32).read(iter(DOCUMENTS))[: 3 * count])


def test_no_document_makes_no_text() -> None:
    assert Packer(TOKENIZER, 32).read(iter([])).shape == (0, 32)
