"""Documents of any length -> texts of one length, without padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .tokenizer import number_of

_ENCODED_AT_ONCE = 256  # documents


class Packer:
    """Puts the tokens of documents one after another, each ended by ``[SEP]``, and cuts them into texts of one length.

    A text is ``[CLS]`` and ``length`` - 1 tokens; it may begin and end within a document (as RoBERTa's FULL-SENTENCES, Liu et
    al. 2019).

    Attributes:
        rest: Tokens that have been read and are in no text yet, int32 [N].
    """

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self._tokenizer, self._inside = tokenizer, length - 1
        self._cls, self._sep = (number_of(tokenizer, token) for token in ("[CLS]", "[SEP]"))
        self.rest = torch.empty(0, dtype=torch.int32)

    def read(self, documents: Iterator[str], count: int | None = None) -> Tensor:
        """The next texts.

        Args:
            documents: What is to come after `rest`; not read further than needed, but for a few hundred documents.
            count: How many texts; None for all.

        Returns:
            int32 [count, length], or fewer where the documents end.
        """
        wanted = math.inf if count is None else count * self._inside
        pieces, tokens = [self.rest], len(self.rest)
        while tokens < wanted and (chunk := list(islice(documents, _ENCODED_AT_ONCE))):
            for encoded in self._tokenizer.encode_batch_fast(chunk, add_special_tokens=False):
                pieces.append(torch.tensor([*encoded.ids, self._sep], dtype=torch.int32))
                tokens += len(pieces[-1])
        full = int(min(wanted, tokens - tokens % self._inside))
        flat = torch.cat(pieces)
        self.rest = flat[full:].clone()
        inside = flat[:full].view(-1, self._inside)
        return torch.cat([torch.full_like(inside[:, :1], self._cls), inside], 1)
