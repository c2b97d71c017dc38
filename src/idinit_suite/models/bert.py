"""BERT (Devlin et al. 2019): transformers' model, with guesses computed only where tokens are masked."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt
from torch import Tensor, nn

from idinit.errors import UsageError

from ..data.spec import MaskedTokens
from . import MODELS, ModelInfo
from .sizes import Dropout, require_whole_heads


class MaskedLanguageModel(nn.Module):
    """A BertForMaskedLM that guesses masked tokens: seven times less work for the vocabulary than guessing all."""

    def __init__(self, bert: Any) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens, int64 [N, T], and positions to guess, int64 [N, M], to logits [N * M, vocabulary]."""
        states = self.bert.bert(tokens).last_hidden_state
        masked = states.gather(1, positions[:, :, None].expand(-1, -1, states.shape[2]))
        return self.bert.cls(masked).flatten(0, 1)


@MODELS.register("bert", ModelInfo(MaskedTokens))
def bert(
    spec: MaskedTokens,
    *,
    width: PositiveInt = 768,
    depth: PositiveInt = 12,
    heads: PositiveInt = 12,
    hidden: PositiveInt = 3072,
    positions: PositiveInt = 512,
    dropout: Dropout = 0.1,
) -> nn.Module:
    """BERT for masked language modelling, with the head for it and without next-sentence prediction.

    Args:
        spec: The texts.
        width: Units of the main path.
        depth: Layers, each of attention and two linear maps.
        heads: Heads of attention.
        hidden: Units between the two linear maps.
        positions: Tokens of the longest text that the model takes.
        dropout: Share that is dropped, of branches and of attention.

    Returns:
        A module from tokens, int64 [N, T], and positions, int64 [N, M], to logits [N * M, spec.vocabulary].

    Raises:
        UsageError: If texts are longer than ``positions``, or ``heads`` does not divide ``width``.
    """
    from transformers import BertConfig, BertForMaskedLM  # takes seconds to import

    if spec.length > positions:
        raise UsageError(f"texts of data.length={spec.length} tokens are longer than model.positions={positions}: change one")
    require_whole_heads(heads, width)
    config = BertConfig(
        vocab_size=spec.vocabulary,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=hidden,
        max_position_embeddings=positions,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=spec.padding,
    )
    return MaskedLanguageModel(BertForMaskedLM(config))
