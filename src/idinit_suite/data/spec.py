"""Specs of data sets: the shapes and sizes that a network is built for."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from idinit.errors import UsageError


@dataclass(frozen=True)
class Images:
    """Pictures with one class each; a model is called with float32 [N, *shape].

    Attributes:
        shape: (channels, height, width); any other of a user's own Dataset.
        num_classes: Number of classes.
    """

    shape: tuple[int, ...]
    num_classes: int

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, for a model that takes nothing else.

        Raises:
            UsageError: If the inputs have another shape.
        """
        if len(self.shape) != 3:
            raise UsageError(
                f"the inputs have shape {self.shape}, and this model takes pictures [channels, height, width]: "
                "use model=mlp, or a network of your own by model=python"
            )
        channels, height, width = self.shape
        return channels, height, width


@dataclass(frozen=True)
class Sentences:
    """Texts with one class each; a model is called with token ids, int64 [N, T], T at most ``length``.

    Attributes:
        vocabulary: Number of token ids.
        length: Tokens of the longest text.
        padding: Id that fills up shorter texts.
        num_classes: Number of classes.
        vectors: Vectors of the tokens to begin with, random or pretrained, float32 [vocabulary, width].
    """

    vocabulary: int
    length: int
    padding: int
    num_classes: int
    vectors: Tensor


@dataclass(frozen=True)
class MaskedTokens:
    """Texts of which some tokens are to be guessed (Devlin et al. 2019).

    A model is called with token ids, int64 [N, T], and the positions to guess, int64 [N, M]; it returns
    logits [N * M, vocabulary].

    Attributes:
        vocabulary: Number of token ids.
        length: Tokens of a text, T.
        padding: Id that fills up shorter texts.
    """

    vocabulary: int
    length: int
    padding: int


Spec = Images | Sentences | MaskedTokens
