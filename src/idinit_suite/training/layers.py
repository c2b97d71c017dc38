"""Statistics of every layer of a network at chosen steps of its training, which show why a run fails."""

from __future__ import annotations

import math
from contextlib import suppress

import torch
from torch import Tensor, nn

from idinit.diagnostics.branches import branch_sizes
from idinit.diagnostics.dead import largest_gradients
from idinit.errors import UsageError
from idinit.parts.classify import analyze
from idinit.parts.find import find_structure

from ..config import RunConfig
from ..data import Batches
from .build import build
from .objective import Classification

EXAMPLES = 64
_ROLES = ("weight", "recurrent", "embedding")


class LayerStatistics:
    """Measures the layers of a run's network, in float32, on the same examples at every step.

    What is measured is a network of its own with a copy of the weights, so that training does not notice: the batch gives
    the statistics of BatchNorm, and random numbers are the same every time.

    Args:
        config: The run.
        data: Its data. The examples are the first of the validation split, or of the training split where there is none.
        device: Where to measure.

    Raises:
        UsageError: If the network cannot be taken apart into layers.
    """

    def __init__(self, config: RunConfig, data: Batches, device: torch.device) -> None:
        self._model = build(config, data)[0].to(device).train()
        self._loss = Classification(config.train.label_smoothing).loss
        inputs, targets = next(iter(data.evaluation_batches("validation" if "validation" in data.splits else "train")))
        examples = len(inputs[0])

        def first(tensor: Tensor) -> Tensor:  # a text has several targets in a row
            return tensor[: len(tensor) * min(EXAMPLES, examples) // examples]

        self._inputs, self._targets = tuple(map(first, inputs)), first(targets)
        self._analysis = analyze(self._model, self._inputs)
        self._layouts = find_structure(self._model, self._inputs, analysis=self._analysis).layouts
        self._layers = list(dict.fromkeys(use.parameter for use in self._analysis.flow.uses if use.role in _ROLES))

    def __call__(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Measures a network with the weights of another.

        Args:
            network: The run's, which is left as it is.

        Returns:
            Statistic -> {weight: value}, layers in the order of the forward pass. ``weight_norm`` and ``gradient_norm`` are
            Euclidean norms, the latter of the gradient of the run's loss. ``branch_ratio``, of the last weight of a residual
            branch: root mean square of the branch's output over that of its input; empty where that cannot be measured.
            ``dead_units``: share of a layer's outputs whose weights receive a gradient of exactly 0 from these examples;
            NaN where the gradient is not finite.
        """
        self._model.load_state_dict(network.state_dict())
        gradients = largest_gradients(self._model, [(self._inputs, self._targets)], self._loss)
        weights = dict(self._model.named_parameters())
        ratios: dict[str, float] = {}
        with suppress(UsageError):  # operators that cannot be run one by one, such as loops
            ratios = {size.end: size.ratio for size in branch_sizes(self._model, self._inputs, analysis=self._analysis)}
        trained = [name for name in self._layers if name in gradients]
        return {
            "weight_norm": {name: _norm(weights[name].detach()) for name in self._layers},
            "gradient_norm": {name: _norm(gradients[name]) for name in trained},
            "branch_ratio": ratios,
            "dead_units": {name: share for name in trained if (share := self._dead(name, gradients[name])) is not None},
        }

    def _dead(self, name: str, gradient: Tensor) -> float | None:
        """Share of the outputs that no gradient reaches; None of an embedding, whose rows need not be in a batch."""
        layout = self._layouts.get(name)
        if layout is None:
            return None
        if not gradient.isfinite().all():
            return math.nan
        others = [dim for dim in range(gradient.ndim) if dim not in layout.outputs]
        return float((gradient.amax(others) == 0).float().mean())


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64))  # squares of large weights are beyond float32
