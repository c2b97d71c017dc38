"""Closed-form facts on networks of torchvision, timm and transformers, whose code stays as it is."""

import math

import pytest
import torch
import torchvision
from torch import nn

from idinit.diagnostics.branches import branch_sizes
from idinit.errors import UsageError
from idinit.init import identity_, zero_preserving_
from idinit.initialize import initialize_
from idinit.initializers._layers import count_layers
from idinit.network.scalars import named_scalars
from idinit.parts import Structure
from idinit.parts.heads import Heads

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

IMAGES = (torch.rand(2, 3, 32, 32),)
IDS = {"input_ids": torch.arange(24).view(2, 12)}


def _resnet(**options):
    return torchvision.models.resnet18(num_classes=5, **options), IMAGES


def _plain_resnet():
    return _resnet(norm_layer=nn.Identity)


def _vit(**options):
    sizes = dict(img_size=32, patch_size=8, embed_dim=64, depth=3, num_heads=2, num_classes=5)
    return timm.create_model("vit_tiny_patch16_224", **sizes, **options), IMAGES


def _plain_vit():
    return _vit(norm_layer=nn.Identity)


def _convnext():
    return timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=5), IMAGES


def _gpt2():
    config = dict(n_layer=2, n_head=2, n_embd=16, vocab_size=50, n_positions=32, bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**config)), IDS


def _bert():
    config = dict(num_hidden_layers=3, num_attention_heads=2, hidden_size=32, intermediate_size=64, vocab_size=50)
    return transformers.BertForMaskedLM(transformers.BertConfig(**config)), IDS


def _bart():
    sizes = dict(encoder_layers=2, decoder_layers=3, encoder_attention_heads=2, decoder_attention_heads=2)
    sizes |= dict(d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=50, max_position_embeddings=32)
    tokens = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2)
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**sizes, **tokens))
    return model, {**IDS, "decoder_input_ids": IDS["input_ids"]}


SILENT = [
    *((method, build) for method in ("skipinit", "rezero", "zero") for build in (_resnet, _vit, _convnext, _gpt2)),
    *(("fixup", build) for build in (_plain_resnet, _plain_vit)),
    ("zero_gamma", _resnet),
]


@pytest.mark.parametrize(("name", "build"), SILENT, ids=lambda v: v if isinstance(v, str) else v.__name__[1:])
def test_branches_are_silent_and_what_was_saved_before_still_loads(name, build):
    model, inputs = build()
    model.eval()
    run = (lambda: model(**inputs).logits) if isinstance(inputs, dict) else lambda: model(*inputs)
    before, output = {key: value.clone() for key, value in model.state_dict().items()}, run()
    initialize_(model, name, inputs)
    sizes = [size.ratio for size in branch_sizes(model, inputs)]
    assert len(sizes) >= 4 and set(sizes) == {0.0}
    assert len([scalar for _, scalar in named_scalars(model) if scalar.kind == "output_scale"]) in (0, len(sizes))
    model.load_state_dict(before)
    torch.testing.assert_close(run(), output)


def test_fixup_scales_by_the_number_of_branches():
    model, inputs = _plain_resnet()
    initialize_(model, "fixup", inputs)
    for weight in (model.layer1[0].conv1.weight, model.layer4[1].conv1.weight):
        assert weight.std().item() == pytest.approx(math.sqrt(2 / (weight.shape[0] * 9)) * 8**-0.5, rel=0.03)
    assert model.fc.weight.count_nonzero() == model.layer2[0].conv2.weight.count_nonzero() == 0
    biases = [scalar.value.item() for name, scalar in named_scalars(model) if scalar.kind != "output_scale"]
    assert biases == [0.0] * (8 * 4 + 2)  # two before and two after the weights of a branch, after the stem, before the head
    assert model.layer2[0].downsample[0].weight.std().item() == pytest.approx(math.sqrt(2 / 128), rel=0.05)


def test_t_fixup_scales_by_the_number_of_layers():
    model, inputs = _plain_vit()
    initialize_(model, "t_fixup", inputs)
    factor, block = 0.67 * 3**-0.25, model.blocks[1]
    query, key, value = block.attn.qkv.weight.chunk(3)
    expected = {
        query: math.sqrt(2 / 128) / math.sqrt(2),
        key: math.sqrt(2 / 128) / math.sqrt(2),
        value: math.sqrt(2 / 128) * factor,
        block.attn.proj.weight: math.sqrt(2 / 128) * factor,
        block.mlp.fc1.weight: math.sqrt(2 / 320) * factor,
        block.mlp.fc2.weight: math.sqrt(2 / 320) * factor,
    }
    for weight, std in expected.items():
        assert weight.std().item() == pytest.approx(std, rel=0.03)


def test_t_fixup_refuses_norms():
    with pytest.raises(UsageError, match="'t_fixup'.*'blocks.0.norm1.weight'"):
        initialize_(_vit()[0], "t_fixup", IMAGES)


def test_attention_to_another_sequence_only_is_no_encoder_and_decoder():
    heads = Heads("q", "k", "v", "o", 8, is_cross=True)
    with pytest.raises(UsageError, match="of 1 attentions 1 "):
        count_layers(Structure({}, (), heads=(heads,)))


def test_deepnorm_of_an_encoder():
    model, inputs = _bert()
    initialize_(model, "deepnorm", inputs)
    scales = {scalar.value.item() for _, scalar in named_scalars(model)}
    assert list(scales) == [pytest.approx((2 * 3) ** -0.25)] and len(list(named_scalars(model))) == 6
    attention = model.bert.encoder.layer[0].attention
    assert attention.self.value.weight.std().item() == pytest.approx(math.sqrt(1 / 32) * (8 * 3) ** -0.25, rel=0.1)
    assert attention.self.query.weight.std().item() == pytest.approx(math.sqrt(1 / 32), rel=0.1)


def test_deepnorm_of_an_encoder_and_a_decoder():
    model, inputs = _bart()
    initialize_(model, "deepnorm", inputs)
    encoder, decoder = 0.81 * (2**4 * 3) ** (1 / 16), (3 * 3) ** 0.25
    scales = {name: scalar.value.item() for name, scalar in named_scalars(model)}
    assert sum(".encoder." in name for name in scales) == 4 and sum(".decoder." in name for name in scales) == 9
    for name, scale in scales.items():
        assert scale == pytest.approx(1 / (encoder if ".encoder." in name else decoder))


def test_idinit_of_a_matrix_that_is_stored_transposed():
    """GPT-2 holds [in, out]."""
    model, inputs = _gpt2()
    report = initialize_(model, "idinit", inputs)
    block = model.transformer.h[0]
    assert torch.equal(block.mlp.c_fc.weight.T, identity_(torch.empty(64, 16)))
    assert torch.equal(block.mlp.c_proj.weight.T, zero_preserving_(torch.empty(16, 64)))
    assert torch.equal(block.attn.c_attn.weight.T[32:], torch.eye(16))
    assert {row.parameter: row.rule for row in report.rows}["transformer.h.0.attn.c_attn.weight"] == (
        "query, key: torch default; value: IDI(1), patch"
    )
    states = model(**inputs, output_hidden_states=True).hidden_states
    assert (states[-2] - states[0]).abs().max() < 1e-4 * states[0].abs().max()


@pytest.mark.parametrize("build", [_gpt2, _bert])
@pytest.mark.parametrize("is_flagged", [True, False])
def test_hugging_face_does_not_initialize_again(build, is_flagged, tmp_path):
    model, inputs = build()
    for module in model.modules():
        if not is_flagged:
            module.__dict__.pop("_is_hf_initialized", None)
    initialize_(model, "idinit", inputs)
    values = {name: value.clone() for name, value in model.state_dict().items()}
    model.post_init()
    model.init_weights()
    model.save_pretrained(tmp_path)
    for other in (model, type(model).from_pretrained(tmp_path)):
        assert all(torch.equal(value, values[name]) for name, value in other.state_dict().items())


def test_a_model_without_memory_gets_every_value():
    with torch.device("meta"):
        model, inputs = _vit()
    model.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    report = initialize_(model, "idinit", inputs)
    assert not report.left_alone and all(parameter.isfinite().all() for parameter in model.parameters())
    other, _ = _vit()
    initialize_(other, "idinit", inputs)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


class Bare(nn.Module):
    """x + attention(x), where torch's module computes with its output projection but never calls it."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.attention(x, x, x)[0])


TOKENS = (torch.rand(2, 5, 6),)


def test_fixup_keeps_to_its_scaling_rule_where_no_scalar_can_act():
    model = Bare()
    rows = {row.parameter: row for row in initialize_(model, "fixup", TOKENS).rows}
    note = "scaling rule only, no scalars: no module returns its output, as one tensor and in one call"
    assert rows["attention.in_proj_weight"].note == rows["attention.out_proj.weight"].note == note
    assert model.attention.out_proj.weight.count_nonzero() == 0
    assert [name for name, _ in named_scalars(model)] == ["stem.output_bias", "head.input_bias"]


@pytest.mark.parametrize("name", ["rezero", "skipinit"])
def test_a_branch_that_no_module_returns_is_refused_and_one_with_dropout_is_not(name):
    model = Bare()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(UsageError, match=f"'{name}'.*'attention.out_proj.weight'.*wrap the branch"):
        initialize_(model, name, TOKENS)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    layer = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True, norm_first=True)  # drops out between attention and sum
    initialize_(layer, name, TOKENS)
    torch.testing.assert_close(layer.train()(*TOKENS), TOKENS[0])
    assert len(list(named_scalars(layer))) == 2


def test_wrapped_and_compiled_models_are_refused():
    model = Bare()
    for wrapped, inner in ((nn.DataParallel(model), "module"), (torch.compile(model), "_orig_mod")):
        with pytest.raises(UsageError, match=rf"model\.{inner}\b"):
            initialize_(wrapped, "idinit", TOKENS)
