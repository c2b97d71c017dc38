"""MLP-Mixer (Tolstikhin et al. 2021): timm's, built for the data at hand."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import nn

from ..data.spec import Images
from . import MODELS, ModelInfo
from .sizes import require_whole_patches


@MODELS.register("mixer", ModelInfo(Images))
def mixer(spec: Images, *, patch: PositiveInt = 4, width: PositiveInt = 192, depth: PositiveInt = 8) -> nn.Module:
    """MLP-Mixer: two-layer branches by turns across patches and across channels.

    Args:
        spec: The images.
        patch: Side of a patch in pixels.
        width: Channels of a patch; the branches are half as wide across patches and four times as wide across channels.
        depth: Blocks, each of the two branches.

    Returns:
        A module from [N, *spec.shape] to logits [N, spec.num_classes].

    Raises:
        UsageError: If the image is not made of whole patches.
    """
    from timm.models.mlp_mixer import MlpMixer  # takes seconds to import

    channels, height, side = spec.picture_shape
    require_whole_patches(patch, height, side)
    size = (height, side)
    return MlpMixer(spec.num_classes, size, channels, patch, depth, width)  # type: ignore[arg-type]  # pairs are fine
