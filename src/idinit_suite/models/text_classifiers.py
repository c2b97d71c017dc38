"""Classifiers of short texts: a convolutional, a recurrent and an attention network on vectors of words.

What they answer does not depend on how far a text is padded.
"""

from __future__ import annotations

import math

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from idinit.errors import UsageError

from ..data.spec import Sentences
from . import MODELS, ModelInfo
from .sizes import Dropout, require_whole_heads


class TextClassifier(nn.Module):
    """Vectors of words, an encoder of the whole text, and a linear head.

    Attributes:
        pretrained: The vectors, which come with the data, whether pretrained or random.
    """

    pretrained = ("embedding.weight",)

    def __init__(self, spec: Sentences, encoder: nn.Module, features: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(spec.vectors.clone(), freeze=False, padding_idx=spec.padding)
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, spec.num_classes)

    def forward(self, words: Tensor) -> Tensor:
        """Numbers of words, int64 [N, T], to logits [N, classes]."""
        present = words != self.embedding.padding_idx
        return self.head(self.dropout(self.encoder(self.embedding(words), present)))


class Convolutions(nn.Module):
    """Filters over windows of words, and of each its largest answer over the text."""

    def __init__(self, embedding: int, maps: int, windows: tuple[int, ...]) -> None:
        super().__init__()
        # As if zeros stood before and after the text: every window that holds a word is seen.
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, maps, size, padding=size - 1) for size in windows)
        self.act = nn.ReLU()

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Vectors [N, T, embedding] and where there are words, bool [N, T], to features [N, maps * windows]."""
        x = (x * present[:, :, None]).transpose(1, 2)
        lengths = present.sum(1, keepdim=True)
        features = []
        for convolution in self.convolutions:
            answers = self.act(convolution(x))
            extra = answers.shape[2] - x.shape[2]
            holds_a_word = torch.arange(answers.shape[2], device=x.device) < lengths + extra
            features.append((answers * holds_a_word[:, None]).amax(2))  # the others become 0, the least there is
        return torch.cat(features, 1)


class Recurrent(nn.Module):
    """A bidirectional LSTM, and its last state in both directions."""

    def __init__(self, embedding: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(embedding, hidden, depth, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Vectors [N, T, embedding] and where there are words, bool [N, T], to features [N, 2 * hidden]."""
        packed = pack_padded_sequence(x, present.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        _, (state, _) = self.lstm(packed)
        return torch.cat([state[-2], state[-1]], 1)


class Attention(nn.Module):
    """A Transformer encoder (Vaswani et al. 2017) with the norm before each branch, and the mean of its outputs."""

    positions: Tensor

    def __init__(self, embedding: int, length: int, depth: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(embedding, width)
        self.register_buffer("positions", sinusoids(length, width), persistent=False)
        layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Vectors [N, T, embedding] and where there are words, bool [N, T], to features [N, width]."""
        if x.shape[1] > len(self.positions):
            raise UsageError(f"a text of {x.shape[1]} words, and the model takes {len(self.positions)}: raise data.length")
        x = self.projection(x) + self.positions[: x.shape[1]]
        x = self.layers(x, src_key_padding_mask=~present)
        weights = present / present.sum(1, keepdim=True)
        return (x * weights[:, :, None]).sum(1)


def sinusoids(length: int, width: int) -> Tensor:
    """Positions as waves of different lengths (Vaswani et al. 2017, section 3.5): [length, width]."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)[:, :width]


@MODELS.register("textcnn", ModelInfo(Sentences))
def textcnn(
    spec: Sentences,
    *,
    windows: tuple[PositiveInt, ...] = (3, 4, 5),
    maps: PositiveInt = 100,
    dropout: Dropout = 0.5,
) -> nn.Module:
    """TextCNN (Kim 2014): filters over windows of words, their largest answers, dropout, a linear head.

    Args:
        spec: The texts.
        windows: Words that a filter sees.
        maps: Filters of each size.
        dropout: Share of the features dropped before the head.

    Returns:
        A module from int64 [N, T] to logits [N, spec.num_classes].
    """
    return TextClassifier(spec, Convolutions(spec.vectors.shape[1], maps, windows), maps * len(windows), dropout)


@MODELS.register("textrnn", ModelInfo(Sentences))
def textrnn(
    spec: Sentences,
    *,
    hidden: PositiveInt = 100,
    depth: PositiveInt = 1,
    dropout: Dropout = 0.5,
) -> nn.Module:
    """TextRNN: a bidirectional LSTM, its last states, dropout, a linear head.

    Args:
        spec: The texts.
        hidden: Units of each direction.
        depth: Layers.
        dropout: Share of the features dropped before the head.

    Returns:
        A module from int64 [N, T] to logits [N, spec.num_classes].
    """
    return TextClassifier(spec, Recurrent(spec.vectors.shape[1], hidden, depth), 2 * hidden, dropout)


@MODELS.register("text_transformer", ModelInfo(Sentences))
def text_transformer(
    spec: Sentences,
    *,
    depth: PositiveInt = 2,
    width: PositiveInt = 128,
    heads: PositiveInt = 4,
    hidden: PositiveInt = 256,
    dropout: Dropout = 0.1,
) -> nn.Module:
    """Transformer encoder on words: pre-norm, fixed positions, the mean over the text, a linear head.

    Args:
        spec: The texts.
        depth: Layers, each of attention and two linear maps.
        width: Units of the main path.
        heads: Heads of attention.
        hidden: Units between the two linear maps.
        dropout: Share dropped in each branch and before the head.

    Returns:
        A module from int64 [N, T] to logits [N, spec.num_classes].

    Raises:
        UsageError: If ``heads`` does not divide ``width``.
    """
    require_whole_heads(heads, width)
    encoder = Attention(spec.vectors.shape[1], spec.length, depth, width, heads, hidden, dropout)
    return TextClassifier(spec, encoder, width, dropout)
