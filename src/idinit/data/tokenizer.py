"""WordPiece tokenizers as BERT's (Devlin et al. 2019): trained on a corpus, or given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from ..errors import UsageError
from ..files import write_atomically
from .sources import require_permission

_RESERVED = 1000  # special and unused entries with which BERT's vocabularies begin
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tokenizer_for(name: str | None, root: Path, size: int, texts: Callable[[], Iterable[str]], kept: Path) -> Tokenizer:
    """The tokenizer that was asked for.

    Args:
        name: A file ``tokenizer.json`` in the data root, a model on the Hugging Face hub, or None for one of its own.
        root: The data root.
        size: Entries of a tokenizer of its own.
        texts: The corpus on which that is trained, unless it was before.
        kept: Where it is kept.

    Raises:
        UsageError: If the named one is not found, or lacks one of BERT's special tokens.
    """
    if name is None:
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, train_wordpiece(texts(), size).to_str().encode())
        return Tokenizer.from_file(str(kept))
    try:
        if (root / name).is_file():
            tokenizer = Tokenizer.from_file(str(root / name))
        else:
            require_permission()
            tokenizer = Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises plain Exceptions
        raise UsageError(
            f"data.tokenizer={name}: neither a tokenizer file {root / name} nor one on the Hugging Face hub "
            f"({str(error).strip().splitlines()[0]}): leave it out to train one on the corpus"
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


def first_ordinary(tokenizer: Tokenizer) -> int:
    """The number from which on no token is special."""
    return 1 + max(number_of(tokenizer, token) for token in SPECIAL)


def number_of(tokenizer: Tokenizer, token: str) -> int:
    """The number of a special token."""
    number = tokenizer.token_to_id(token)
    assert number is not None
    return number


def train_wordpiece(texts: Iterable[str], size: int) -> Tokenizer:
    """A WordPiece tokenizer in small letters without accents.

    Args:
        texts: The corpus.
        size: Largest number of entries; the first five are `SPECIAL`, the others sorted.
    """
    learner = _bert(models.WordPiece(unk_token="[UNK]"))
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
    learner.train_from_iterator(texts, trainer)
    # The trainer numbers its entries differently each time.
    entries = [*SPECIAL, *sorted(learner.get_vocab().keys() - set(SPECIAL))]
    tokenizer = _bert(models.WordPiece({entry: number for number, entry in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _bert(model: models.Model) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
