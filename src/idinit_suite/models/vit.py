"""Vision Transformers (Dosovitskiy et al. 2021): timm's, built for the data at hand."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt
from torch import nn

from idinit.errors import UsageError

from ..data.spec import Images
from . import MODELS, ModelInfo
from .sizes import Dropout, require_whole_heads, require_whole_patches


@MODELS.register("vit", ModelInfo(Images))
def vit(
    spec: Images,
    *,
    patch: PositiveInt = 4,
    width: PositiveInt = 192,
    depth: PositiveInt = 12,
    heads: PositiveInt = 3,
    mlp_ratio: PositiveFloat = 4.0,
    pool: Literal["token", "avg"] = "token",
    drop_path: Dropout = 0.0,
) -> nn.Module:
    """Vision Transformer: patches of the image as tokens through pre-norm attention and MLP branches.

    Args:
        spec: The images.
        patch: Side of a patch in pixels.
        width: Units of the main path.
        depth: Blocks, each of an attention and an MLP branch.
        heads: Heads of attention.
        mlp_ratio: Units inside an MLP branch, as a multiple of ``width``.
        pool: What the head sees: a class ``token``, or the average of all patches (``avg``).
        drop_path: Share of the images for which the last branch is left out; it rises linearly from the first (Huang et al.
            2016).

    Returns:
        A module from [N, *spec.shape] to logits [N, spec.num_classes].

    Raises:
        UsageError: If the image is not made of whole patches or is a single one, or ``heads`` does not divide ``width``.
    """
    from timm.models.vision_transformer import VisionTransformer  # takes seconds to import

    channels, height, side = spec.picture_shape
    require_whole_patches(patch, height, side)
    if height == side == patch:  # attention would have nothing to look at
        fitting = ", ".join(str(size) for size in range(1, patch) if patch % size == 0)
        raise UsageError(
            f"model.patch={patch} makes one patch of an image of {height}x{side} pixels: "
            f"use one of {fitting} (model=vit_ti4 has 4)"
        )
    require_whole_heads(heads, width)
    return VisionTransformer(
        img_size=(height, side),
        patch_size=patch,
        in_chans=channels,
        num_classes=spec.num_classes,
        global_pool=pool,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path,
    )
