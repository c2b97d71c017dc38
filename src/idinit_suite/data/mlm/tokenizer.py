"""WordPiece tokenizers as BERT's (Devlin et al. 2019): trained on a corpus, or given."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from idinit.errors import UsageError

from ...errors import first_line
from .. import cache
from ..downloads import hub_file

logger = logging.getLogger(__name__)

VERSION = 2  # of `train_wordpiece`, in the names of what is kept: another version's entries may be others
_RESERVED = 1000  # special and unused entries with which BERT's vocabularies begin
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tokenizer_for(name: str | None, root: Path, size: int, texts: Callable[[], Iterable[str]], kept: Path) -> Tokenizer:
    """The tokenizer that was asked for.

    Args:
        name: A file ``tokenizer.json`` in the data root, a model on the Hugging Face hub, or None to train one.
        root: The data root.
        size: Entries of a trained one.
        texts: The corpus on which that is trained, unless it was before.
        kept: Where it is kept.

    Raises:
        UsageError: If the named one is not found, or lacks one of BERT's special tokens.
    """
    if name is None:
        return _own(kept, lambda: train_wordpiece(texts, size))
    try:
        tokenizer = Tokenizer.from_file(str(root / name if (root / name).is_file() else hub_file(name, "tokenizer.json")))
    except Exception as error:  # the libraries raise many kinds
        raise UsageError(
            f"data.tokenizer={name}: neither a tokenizer file {root / name} nor one on the Hugging Face hub "
            f"({first_line(error)}): data.tokenizer=null trains one on the corpus"
        ) from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if missing := [token for token in SPECIAL if tokenizer.token_to_id(token) is None]:
        raise UsageError(
            f"data.tokenizer={name} has no {', '.join(missing)}: masked language modelling needs BERT's special tokens"
        )
    if first_ordinary(tokenizer) > _RESERVED:
        raise UsageError(f"data.tokenizer={name} does not begin with BERT's special tokens: use a BERT tokenizer")
    return tokenizer


def _own(kept: Path, train: Callable[[], Tokenizer]) -> Tokenizer:
    """A tokenizer that an earlier call has kept, or a new one; of several processes one trains, if it can be kept."""
    with contextlib.suppress(Exception):  # not there or damaged: the library raises nothing narrower
        return Tokenizer.from_file(str(kept))
    with cache.lock(kept):
        tokenizer = _kept_by_another(kept)
        if tokenizer is None:
            tokenizer = train()
            cache.keep(kept, tokenizer.to_str().encode())
        return tokenizer


def _kept_by_another(kept: Path) -> Tokenizer | None:
    """The tokenizer that another process has trained meanwhile, or None; a damaged file is warned of."""
    if not kept.exists():
        return None
    try:
        return Tokenizer.from_file(str(kept))
    except Exception as error:
        logger.warning("%s is damaged (%s): training the tokenizer again", kept, error)
        return None


def first_ordinary(tokenizer: Tokenizer) -> int:
    """The number from which on no token is special."""
    return 1 + max(number_of(tokenizer, token) for token in SPECIAL)


def number_of(tokenizer: Tokenizer, token: str) -> int:
    """The number of a special token."""
    number = tokenizer.token_to_id(token)
    assert number is not None
    return number


def train_wordpiece(texts: Callable[[], Iterable[str]], size: int) -> Tokenizer:
    """A WordPiece tokenizer in small letters without accents.

    Args:
        texts: The corpus, which is read twice.
        size: Largest number of entries; the first five are `SPECIAL`, the others sorted.
    """
    # Of equally frequent pieces the trainer prefers those with small numbers, and it numbers letters that continue a word in an
    # order that differs each time. So they are collected first, and given to it in one order.
    letters = sorted(entry for entry in _learned(texts(), 0, []) if entry.startswith("##"))
    entries = [*SPECIAL, *sorted(_learned(texts(), size, letters))]
    tokenizer = _bert(models.WordPiece({entry: number for number, entry in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _learned(texts: Iterable[str], size: int, first: Sequence[str]) -> set[str]:
    """The entries but for `SPECIAL` that the trainer finds; all letters, even where the size is less."""
    learner = _bert(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=[*SPECIAL, *first], show_progress=False)
    learner.train_from_iterator(texts, trainer)
    return learner.get_vocab().keys() - set(SPECIAL)


def _bert(model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
