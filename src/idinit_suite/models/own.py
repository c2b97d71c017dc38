"""Networks of timm, torchvision and transformers by name, and a user's own, built for the data and not trained."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

from pydantic import AfterValidator
from torch import Tensor, nn

from idinit.errors import UsageError

from ..data.spec import Images, MaskedTokens, Sentences
from ..targets import call_target, resolve_target
from . import MODELS, ModelInfo

Options = dict[str, Any]


def _timm_name(name: str) -> str:
    from idinit.zoo.timm_models import check_name  # timm takes seconds to import

    return check_name(name)


def _torchvision_name(name: str) -> str:
    from idinit.zoo.torchvision_models import check_name

    return check_name(name)


@MODELS.register("timm", ModelInfo(Images, foreign=True))
def timm(
    spec: Images,
    *,
    name: Annotated[str, AfterValidator(_timm_name)],
    norm: Literal["none"] | None = None,
    options: Options = {},  # noqa: B006
) -> nn.Module:
    """A network of timm: ``model.name=resnet50``; its options as ``+model.options.drop_path_rate=0.1``.

    ``norm=none`` builds it without norms, if it is one that takes another norm.

    Raises:
        UsageError: If it cannot be built for such images.
    """
    from idinit.zoo.timm_models import build

    without = {} if norm is None else {"norm_layer": nn.Identity}
    return build(name, spec.shape, **{"num_classes": spec.num_classes, **without, **options})[0]


@MODELS.register("torchvision", ModelInfo(Images, foreign=True))
def torchvision(
    spec: Images,
    *,
    name: Annotated[str, AfterValidator(_torchvision_name)],
    options: Options = {},  # noqa: B006
) -> nn.Module:
    """A network of torchvision: ``model.name=resnet50``; its options as ``+model.options.width_per_group=128``.

    Raises:
        UsageError: If it cannot be built for such images.
    """
    from idinit.zoo.torchvision_models import build

    return build(name, spec.shape, **{"num_classes": spec.num_classes, **options})[0]


class Logits(nn.Module):
    """A classifier of transformers as a module from one input to logits.

    Attributes:
        network: The classifier.
        padding: Number of the token that fills up shorter texts; None for images.
    """

    def __init__(self, network: nn.Module, padding: int | None) -> None:
        super().__init__()
        self.network = network
        self.padding = padding

    def forward(self, inputs: Tensor) -> Tensor:
        """Images, float [N, C, H, W], or numbers of words, int64 [N, T], to logits [N, classes]."""
        if self.padding is None:
            return self.network(pixel_values=inputs).logits
        return self.network(input_ids=inputs, attention_mask=(inputs != self.padding).long()).logits


@MODELS.register("hf", ModelInfo(Images | Sentences, foreign=True))
def hf(spec: Images | Sentences, *, name: str, options: Options = {}) -> nn.Module:  # noqa: B006
    """A classifier of transformers: a model type such as ``model.name=vit``, or the configuration of a network of the hub.

    Only the configuration is read, never weights. ``options`` are of the configuration: ``+model.options.num_hidden_layers=4``.

    Raises:
        UsageError: If transformers has no such network, or no classifier of such data.
    """
    from idinit.zoo.transformers_models import classifier

    if isinstance(spec, Images):
        channels, height, width = spec.picture_shape
        sizes: Options = {"num_channels": channels, "image_size": height if height == width else (height, width)}
        return Logits(classifier(name, "images", spec.num_classes, sizes, options), None)
    sizes = {"vocab_size": spec.vocabulary, "pad_token_id": spec.padding}
    return Logits(classifier(name, "texts", spec.num_classes, sizes, options, spec.length), spec.padding)


@MODELS.register("python", ModelInfo(Images | Sentences | MaskedTokens, foreign=True))
def python(spec: Images | Sentences | MaskedTokens, *, target: str, options: Options = {}) -> nn.Module:  # noqa: B006
    """A network made by MODULE:CLASS, a user's torch module from the working directory.

    It is called with ``options`` and with those of the following that it has parameters for: ``num_classes``, ``shape``
    (channels, height, width of images), ``channels``, ``vocabulary``, ``length``, ``padding``, and ``spec``, which has all.

    Raises:
        UsageError: If there is no such class, or it makes no module.
    """
    make = resolve_target(target, "model.target")
    given: Options = {"spec": spec, **{key: value for key, value in vars(spec).items() if key != "vectors"}}
    if isinstance(spec, Images):
        given["channels"] = spec.shape[0]
    named = inspect.signature(make).parameters
    made = call_target(make, {key: value for key, value in given.items() if key in named} | options, "model")
    if not isinstance(made, nn.Module):
        raise UsageError(f"model.target={target}: it made a {type(made).__name__}, and it must be a torch.nn.Module")
    return made
