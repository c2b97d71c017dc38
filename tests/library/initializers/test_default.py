"""Models that know how they are initialized: ``default`` does that, whatever their weights were before."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from idinit import initialize_

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")


def bert() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    model = transformers.BertForMaskedLM(transformers.BertConfig(vocab_size=500, max_position_embeddings=16, **sizes))
    return model.eval(), {"input_ids": torch.arange(2 * 8).view(2, 8)}


def vit() -> tuple[nn.Module, tuple[torch.Tensor]]:
    model = timm.models.VisionTransformer(img_size=16, patch_size=4, embed_dim=96, depth=2, num_heads=2, num_classes=10)
    return model.eval(), (torch.randn(2, 3, 16, 16),)


@pytest.mark.parametrize("make", [bert, vit])
def test_it_depends_on_the_seed_and_not_on_what_was_there(make) -> None:
    model, inputs = make()
    first = initialize_(model, "default", inputs, seed=3)
    values = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(7)
    initialize_(model, "default", inputs, seed=3)
    assert all(torch.equal(p, values[name]) for name, p in model.named_parameters())
    assert not first.left_alone
    initialize_(model, "default", inputs, seed=4)
    assert not torch.equal(model.get_parameter(first.rows[0].parameter), values[first.rows[0].parameter])


def test_bert_is_initialized_as_by_its_authors() -> None:
    model, inputs = bert()
    initialize_(model, "default", inputs, seed=0)
    for name, p in model.named_parameters():
        if "LayerNorm.weight" in name:
            assert p.eq(1).all(), name
        elif name.endswith("bias"):
            assert p.eq(0).all(), name
        else:
            assert p.std().item() == pytest.approx(0.02, rel=0.1), name
    table = model.bert.embeddings.word_embeddings.weight
    assert table[0].eq(0).all()  # padding
    assert model.cls.predictions.decoder.weight is table


def test_vit_is_initialized_as_by_timm() -> None:
    model, inputs = vit()
    initialize_(model, "default", inputs, seed=0)
    for name, p in model.named_parameters():
        if name.endswith(("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight", "pos_embed")) and "patch" not in name:
            assert p.std().item() == pytest.approx(0.02, rel=0.1), name
    patches = model.patch_embed.proj.weight
    assert patches.abs().max().item() == pytest.approx(
        48**-0.5, rel=0.01
    )  # torch's default, U(-1/sqrt(fan-in), 1/sqrt(fan-in))


def test_torchs_global_generator_stays_where_it_is() -> None:
    model, inputs = vit()
    state = torch.get_rng_state()
    initialize_(model, "default", inputs, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("normalize", [nn.utils.weight_norm, parametrizations.weight_norm])
def test_a_weight_that_its_layer_computes_acts_as_torch_s_default(normalize):
    model = nn.Sequential(nn.Conv1d(4, 4, 1), normalize(nn.Conv1d(4, 24, 3)), nn.Flatten(), nn.Linear(336, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    initialize_(model, "default", (torch.ones(2, 4, 16),), replace="*")
    model(torch.ones(2, 4, 16))  # the older kind computes it on a call
    bound = 12**-0.5
    assert 0.9 * bound < model[1].weight.abs().max() <= 1.001 * bound
    assert 0 < model[1].bias.abs().max() <= bound
    assert all(parameter.isfinite().all() for parameter in model.parameters())
