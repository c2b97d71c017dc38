"""Types and checks of options that several networks share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from idinit.errors import UsageError

Dropout = Annotated[float, Field(ge=0, lt=1)]  # a share that is dropped: of activations, or of branches


def require_whole_heads(heads: int, width: int) -> None:
    """Makes sure that the heads of attention share the width evenly.

    Raises:
        UsageError: If they do not.
    """
    if width % heads:
        raise UsageError(f"model.heads={heads} does not divide model.width={width}")


def require_whole_patches(patch: int, height: int, width: int) -> None:
    """Makes sure that an image is made of whole patches.

    Raises:
        UsageError: If it is not.
    """
    if height % patch or width % patch:
        raise UsageError(
            f"model.patch={patch}: images of {height}x{width} pixels cannot be cut into such patches: use a divisor"
        )
