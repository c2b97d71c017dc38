"""The process that checks one network."""

from __future__ import annotations

import warnings
from multiprocessing.connection import Connection

import timm  # noqa: F401  # imported here so that each check need not
import torch
import torchvision  # noqa: F401
import transformers

from idinit.errors import kind_and_reason

from .check import check
from .expert_labels import labels_of
from .families import Case


def work(case: Case, sender: Connection) -> None:
    """Checks a network and sends its row."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    try:
        model, inputs = case.build()
    except Exception as error:
        sender.send({"problems": f"build: {kind_and_reason(error)}"})
        return
    sender.send(check(model, inputs, labels_of(f"{case.source}:{case.model}")))
