"""Documents of any length -> texts of one length, without padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .tokenizer import number_of

_ENCODED_AT_ONCE = 256  # documents


def chunks(documents: Iterator[str]) -> Iterator[list[str]]:
    """Documents, as many at once as are tokenized together; not read further than asked for."""
    while chunk := list(islice(documents, _ENCODED_AT_ONCE)):
        yield chunk


class Packer:
    """Puts the tokens of documents one after another, each ended by ``[SEP]``, and cuts them into texts of one length.

    A text is ``[CLS]`` and ``length`` - 1 tokens; it may begin and end within a document (as RoBERTa's FULL-SENTENCES, Liu et
    al. 2019).

    Attributes:
        inside: Tokens of documents in a text.
    """

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self._tokenizer, self.inside = tokenizer, length - 1
        self._cls, self._sep = (number_of(tokenizer, token) for token in ("[CLS]", "[SEP]"))

    def encode(self, documents: Sequence[str]) -> Tensor:
        """The tokens of documents, int32 [N]."""
        encoded = self._tokenizer.encode_batch_fast(documents, add_special_tokens=False)
        return torch.tensor([token for document in encoded for token in (*document.ids, self._sep)], dtype=torch.int32)

    def cut(self, tokens: Tensor, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Makes texts of tokens.

        Args:
            tokens: int32 [N].
            count: How many texts at most; None for all.

        Returns:
            The texts, int32 [count, length], or fewer where the tokens end; and the tokens that are in none, int32 [M].
        """
        texts = len(tokens) // self.inside
        texts = texts if count is None else min(count, texts)
        inside = tokens[: texts * self.inside].view(-1, self.inside)
        rest = tokens[texts * self.inside :].clone()
        return torch.cat([torch.full_like(inside[:, :1], self._cls), inside], 1), rest

    def read(self, documents: Iterator[str], count: int | None = None) -> Tensor:
        """The texts of documents.

        Args:
            documents: Not read further than needed, but for a few hundred of them.
            count: How many texts at most; None for all.

        Returns:
            int32 [count, length], or fewer where the documents end.
        """
        pieces, tokens = [torch.empty(0, dtype=torch.int32)], 0
        for chunk in chunks(documents):
            pieces.append(self.encode(chunk))
            tokens += len(pieces[-1])
            if count is not None and tokens >= count * self.inside:
                break
        return self.cut(torch.cat(pieces), count)[0]
