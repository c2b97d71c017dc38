"""Files and data sets of the Hugging Face hub, and the internet: whether it may be used, and whether it is there."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

_may_download = ContextVar("may_download", default=True)


def hub_file(repository: str, name: str, **options: Any) -> Path:
    """A file of a repository on the Hugging Face hub; one that was downloaded before needs no internet."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        return Path(hf_hub_download(repository, name, local_files_only=True, **options))
    require_internet(constants.ENDPOINT)
    return Path(hf_hub_download(repository, name, **options))


def load_from_hub(repository: str, **options: Any) -> Any:
    """`datasets.load_dataset`; without internet, only what an earlier download has left in its cache."""
    import datasets

    set_hub_offline_if_unreachable()
    return datasets.load_dataset(repository, **options)


def set_hub_offline_if_unreachable() -> None:
    """Tells `datasets` whether the hub can be reached: if not, it would retry for minutes before it looks into its cache.

    It may also switch the hub back on, where an earlier call had no internet.
    """
    import datasets
    from huggingface_hub import constants

    try:
        require_internet(constants.ENDPOINT)
        datasets.config.HF_HUB_OFFLINE = False
    except OSError:
        datasets.config.HF_HUB_OFFLINE = True


@contextlib.contextmanager
def nothing_downloaded() -> Iterator[None]:
    """Switches downloads off for the time of the block."""
    before = _may_download.set(False)
    try:
        yield
    finally:
        _may_download.reset(before)


def require_internet(url: str) -> None:
    """Fails fast where nothing may be downloaded, and without network access: the hub libraries would retry for minutes.

    Raises:
        OSError: If that is so.
    """
    if not _may_download.get():
        raise PermissionError("not tried, because nothing is to be trained on it")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        raise PermissionError("not tried, because HF_HUB_OFFLINE is set")
    urllib.request.urlopen(url, timeout=5).close()
