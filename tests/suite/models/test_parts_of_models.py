"""The parts of the project's own models are those that a person would write down."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from networks import IMAGES, rows
from torch import Tensor

from idinit.parts import Branch, find_parts, find_structure
from idinit_suite.data import Images, MaskedTokens, Sentences
from idinit_suite.models import MODELS

WORDS = torch.randint(1, 50, (3, 12), generator=torch.Generator().manual_seed(0))
INPUTS: dict[type, tuple[Any, tuple[Tensor, ...]]] = {
    Images: (Images((3, 32, 32), 10), (IMAGES,)),
    Sentences: (Sentences(50, 12, 0, 3, torch.randn(50, 10, generator=torch.Generator().manual_seed(0))), (WORDS,)),
    MaskedTokens: (MaskedTokens(50, 12, 0), (WORDS, torch.tensor([[1, 2], [3, 4], [5, 6]]))),
}

QKV = [(0, 0, 16, "query"), (0, 16, 32, "key"), (0, 32, 48, "value")]


def affine(*modules: str, weight: str = "norm") -> dict[str, str]:
    """The weights of modules that have this part, and their biases."""
    bias = "norm" if weight == "norm" else "bias"
    return {f"{module}.{name}": part for module in modules for name, part in (("weight", weight), ("bias", bias))}


def resnet_branches(end_norm: str | None = None) -> list[Branch]:
    """The branches of a ResNet with one block a stage, of which the first keeps the shape."""
    return [
        Branch(
            (f"{block}.branch.conv1.weight", f"{block}.branch.conv2.weight"),
            f"{block}.branch",
            None if block == "stage1.0" else f"{block}.shortcut",
            end_norm and f"{block}.{end_norm}",
        )
        for block in ("stage1.0", "stage2.0", "stage3.0")
    ]


CONVOLUTIONAL: list[tuple[str, dict[str, Any], dict[str, str], list[Branch]]] = [
    (
        "resnet",
        {"depth": 8},
        {
            "stem.weight": "stem",
            "stage1.0.branch.conv1.weight": "branch",
            "stage1.0.branch.conv2.weight": "branch_end",
            "stage2.0.branch.conv1.weight": "branch",
            "stage2.0.branch.conv2.weight": "branch_end",
            "stage3.0.branch.conv1.weight": "branch",
            "stage3.0.branch.conv2.weight": "branch_end",
            "head.weight": "head",
            "head.bias": "bias",
        },
        resnet_branches(),
    ),
    (
        "resnet",
        {"depth": 8, "norm": "batch", "shortcut": "projection", "last_activation": "branch"},
        {
            "stem.weight": "stem",
            "norm.weight": "norm",
            "norm.bias": "norm",
            **{
                f"stage{stage}.0.{name}": part
                for stage in (1, 2, 3)
                for name, part in {
                    "branch.conv1.weight": "branch",
                    "branch.norm1.weight": "norm",
                    "branch.norm1.bias": "norm",
                    "branch.conv2.weight": "branch_end",
                    "branch.norm2.weight": "norm",
                    "branch.norm2.bias": "norm",
                    "shortcut.conv.weight": "shortcut",
                    "shortcut.norm.weight": "norm",
                    "shortcut.norm.bias": "norm",
                }.items()
                if stage > 1 or not name.startswith("shortcut")
            },
            "head.weight": "head",
            "head.bias": "bias",
        },
        resnet_branches(end_norm="branch.norm2"),
    ),
    (
        "allconv",
        {"width": 4},
        {
            "conv1.weight": "stem",
            **{f"conv{i}.weight": "trunk" for i in range(2, 9)},
            "conv9.weight": "head",
            **{f"conv{i}.bias": "bias" for i in range(1, 10)},
        },
        [],
    ),
]


@pytest.mark.parametrize(
    ("name", "options", "parts", "branches"), CONVOLUTIONAL, ids=["resnet-pad", "resnet-projection", "allconv"]
)
def test_convolutional_models(name: str, options: dict[str, Any], parts: dict[str, str], branches: list[Branch]) -> None:
    structure = find_structure(MODELS[name].build(Images((3, 32, 32), 10), **options), (IMAGES,))
    assert structure.parts == parts
    assert list(structure.branches) == branches
    assert (structure.shared, structure.unknown, structure.slices) == ({}, {}, {})


# Of each: options, parts, the branches' weights, and what matrices hold side by side.
TOKENS_AND_WORDS: dict[str, tuple[dict[str, Any], dict[str, str], list[tuple[str, ...]], dict[str, list[Any]]]] = {
    "vit": (
        {"patch": 8, "width": 16, "depth": 2, "heads": 2},
        {
            "cls_token": "embedding",
            "pos_embed": "position",
            **affine("patch_embed.proj", weight="stem"),
            **{
                f"blocks.{i}.{name}": part
                for i in (0, 1)
                for name, part in {
                    **affine("norm1"),
                    **affine("attn.qkv", weight="query"),
                    **affine("attn.proj", weight="branch_end"),
                    **affine("norm2"),
                    **affine("mlp.fc1", weight="branch"),
                    **affine("mlp.fc2", weight="branch_end"),
                }.items()
            },
            **affine("norm"),
            **affine("head", weight="head"),
        },
        [
            branch
            for i in (0, 1)
            for branch in (
                (f"blocks.{i}.attn.qkv.weight", f"blocks.{i}.attn.proj.weight"),
                (f"blocks.{i}.mlp.fc1.weight", f"blocks.{i}.mlp.fc2.weight"),
            )
        ],
        {"blocks.0.attn.qkv.weight": QKV, "blocks.1.attn.qkv.weight": QKV},
    ),
    "textcnn": (
        {"maps": 4},
        {
            "embedding.weight": "embedding",
            **affine(*(f"encoder.convolutions.{i}" for i in range(3)), weight="trunk"),
            **affine("head", weight="head"),
        },
        [],
        {},
    ),
    "textrnn": (
        {"hidden": 5},
        {
            "embedding.weight": "embedding",
            **{
                f"encoder.lstm.{kind}_{at}_l0{way}": part
                for way in ("", "_reverse")
                for kind, part in (("weight", "recurrent"), ("bias", "bias"))
                for at in ("ih", "hh")
            },
            **affine("head", weight="head"),
        },
        [],
        {  # input and forget gate, the value, output gate
            f"encoder.lstm.weight_{at}_l0{way}": [(0, 0, 10, "gate"), (0, 10, 15, "recurrent"), (0, 15, 20, "gate")]
            for way in ("", "_reverse")
            for at in ("ih", "hh")
        },
    ),
    "text_transformer": (
        {"depth": 1, "width": 16, "heads": 2, "hidden": 32},
        {
            "embedding.weight": "embedding",
            **affine("encoder.projection", weight="stem"),
            "encoder.layers.layers.0.self_attn.in_proj_weight": "query",
            "encoder.layers.layers.0.self_attn.in_proj_bias": "bias",
            **affine("encoder.layers.layers.0.self_attn.out_proj", weight="branch_end"),
            **affine("encoder.layers.layers.0.linear1", weight="branch"),
            **affine("encoder.layers.layers.0.linear2", weight="branch_end"),
            **affine("encoder.layers.layers.0.norm1", "encoder.layers.layers.0.norm2", "encoder.layers.norm"),
            **affine("head", weight="head"),
        },
        [
            ("encoder.layers.layers.0.self_attn.in_proj_weight", "encoder.layers.layers.0.self_attn.out_proj.weight"),
            ("encoder.layers.layers.0.linear1.weight", "encoder.layers.layers.0.linear2.weight"),
        ],
        {"encoder.layers.layers.0.self_attn.in_proj_weight": QKV},
    ),
    "bert": (
        {"depth": 1, "width": 16, "heads": 2, "hidden": 32, "positions": 12},
        {
            "bert.bert.embeddings.word_embeddings.weight": "embedding",  # shared with the decoder
            "bert.bert.embeddings.position_embeddings.weight": "position",
            "bert.bert.embeddings.token_type_embeddings.weight": "embedding",
            **affine("bert.bert.embeddings.LayerNorm"),
            **{
                f"bert.bert.encoder.layer.0.{name}": part
                for name, part in {
                    **affine("attention.self.query", weight="query"),
                    **affine("attention.self.key", weight="key"),
                    **affine("attention.self.value", weight="value"),
                    **affine("attention.output.dense", weight="branch_end"),
                    **affine("attention.output.LayerNorm"),
                    **affine("intermediate.dense", weight="branch"),
                    **affine("output.dense", weight="branch_end"),
                    **affine("output.LayerNorm"),
                }.items()
            },
            "bert.cls.predictions.bias": "bias",
            **affine("bert.cls.predictions.transform.dense", weight="trunk"),
            **affine("bert.cls.predictions.transform.LayerNorm"),
        },
        [
            (
                "bert.bert.encoder.layer.0.attention.self.value.weight",
                "bert.bert.encoder.layer.0.attention.output.dense.weight",
            ),
            ("bert.bert.encoder.layer.0.intermediate.dense.weight", "bert.bert.encoder.layer.0.output.dense.weight"),
        ],
        {},
    ),
}


@pytest.mark.parametrize("name", TOKENS_AND_WORDS)
def test_models_of_tokens_and_words(name: str) -> None:
    options, parts, branches, slices = TOKENS_AND_WORDS[name]
    spec, inputs = INPUTS[MODELS[name].info.takes]
    structure = find_structure(MODELS[name].build(spec, **options), inputs)
    assert structure.parts == parts
    assert [branch.weights for branch in structure.branches] == branches
    assert {name: rows(structure, name) for name in structure.slices} == slices
    assert structure.unknown == {}


@pytest.mark.parametrize("name", [name for name in MODELS if not MODELS[name].info.foreign])
def test_every_parameter_of_the_registered_models_has_a_part(name: str) -> None:
    spec, inputs = INPUTS[MODELS[name].info.takes]
    model = MODELS[name].build(spec, **{"depth": 2, "width": 64, "heads": 2} if name == "bert" else {})
    assert list(find_parts(model, inputs)) == [n for n, _ in model.named_parameters()]
