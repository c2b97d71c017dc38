"""Networks of other libraries, with the part of every decisive weight as one reads it in the architecture's code.

The tests hold the parts that are found to these labels, and the coverage shows them. Of each network, by its name in
`idinit.zoo` and the shape of an input: shell patterns of weights and their parts. The first pattern that matches a name
holds, and every parameter of two dimensions or more has one; "-" says that none is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from torch import nn

_ATTENTION = (
    "*.q_proj.weight query; *.k_proj.weight key; *.v_proj.weight value; *.o_proj.weight branch_end; "
    "*.out_proj.weight branch_end"
)
_GATED = "*.gate_proj.weight gate; *.up_proj.weight branch; *.down_proj.weight branch_end"
_MLP = "*.fc1.weight branch; *.fc2.weight branch_end"
_BERT = (
    "*embeddings.position_embeddings.weight position; *embeddings*.weight embedding; *.query.weight query; *.key.weight key; "
    "*.value.weight value; *.attention.output.dense.weight branch_end; *.intermediate.dense.weight branch; "
    "*.output.dense.weight branch_end; "
)
_RESNET = "conv1.weight stem; *.downsample.0.weight shortcut; "
_BASIC = "*.conv1.weight branch; *.conv2.weight branch_end; "
_BOTTLENECK = "*.conv1.weight branch; *.conv2.weight branch; *.conv3.weight branch_end; "
_NEOX = "*.query_key_value.weight query; *.dense.weight branch_end; *h_to_4h.weight branch; *4h_to_h.weight branch_end; "
_T5 = (
    "shared.weight embedding; *relative_attention_bias.weight position; *.q.weight query; *.k.weight key; *.v.weight value; "
    "*.o.weight branch_end; *.wi.weight branch; *.wo.weight branch_end"
)

LABELS: dict[str, str] = {
    # plain networks
    "torchvision:vgg11 3 64 64": "features.0.weight stem; classifier.6.weight head; * trunk",
    "torchvision:alexnet 3 64 64": "features.0.weight stem; classifier.6.weight head; * trunk",
    "torchvision:densenet121 3 64 64": "features.conv0.weight stem; classifier.weight head; * trunk",
    "torchvision:squeezenet1_1 3 64 64": "features.0.weight stem; classifier.1.weight head; * trunk",
    # residual convolutional networks
    "torchvision:resnet18 3 64 64": _RESNET + _BASIC + "fc.weight head",
    "torchvision:resnext50_32x4d 3 64 64": _RESNET + _BOTTLENECK + "fc.weight head",
    "torchvision:regnet_y_400mf 3 64 64": (
        "stem.0.weight stem; *.proj.0.weight shortcut; *.f.a.0.weight branch; *.f.b.0.weight branch; *.se.* gate; "
        "*.f.c.0.weight branch_end; fc.weight head"
    ),
    "torchvision:convnext_tiny 3 64 64": (
        "features.0.0.weight stem; *.layer_scale scale; *.block.0.weight branch; *.block.3.weight branch; "
        "*.block.5.weight branch_end; features.?.1.weight trunk; classifier.2.weight head"
    ),
    "timm:test_convnext 3 64 64": (
        "stem.0.weight stem; *.conv_dw.weight branch; *.fc1.weight branch; *.fc2.weight branch_end; *.downsample.* trunk; "
        "head.fc.weight head"
    ),
    "timm:legacy_seresnet18 3 64 64": (
        "layer0.conv1.weight stem; *.downsample.0.weight shortcut; *.se_module.* gate; " + _BASIC + "last_linear.weight head"
    ),
    "timm:csatv2 3 64 64": (  # no zeros in pwconv2: its output is multiplied with what layers without a sigmoid make of it
        "stem_dct.* stem; stages.?.0.weight trunk; *.dwconv.weight branch; *.pwconv1.weight branch; "
        "*.pwconv2.weight branch; *.attn.conv.weight gate; *.attn.proj.weight branch_end; "
        "*.pos_embed.proj.weight branch_end; *.attn.attn.qkv.weight branch_end; *.qkv.weight query; "
        + _MLP
        + "; head.fc.weight head"
    ),
    "timm:gcvit_xxtiny": (
        "stem.conv1.weight stem; *.se.* gate; *.conv_dw.weight branch; *.conv_pw.weight branch_end; *.reduction.weight trunk; "
        "*relative_position_bias_table position; *.blocks.[135].attn.qkv.weight key; *.qkv.weight query; "
        "*.attn.proj.weight branch_end; " + _MLP + "; head.fc.weight head"
    ),
    "timm:resnet26d 3 64 64": "conv1.* stem; *.downsample.1.weight shortcut; " + _BOTTLENECK + "fc.weight head",
    "timm:convmixer_1024_20_ks9_p14 3 64 64": "stem.0.weight stem; *.fn.0.weight branch_end; blocks.* trunk; head.weight head",
    "timm:hrnet_w18_small 3 64 64": (
        "conv?.weight stem; *.downsample.0.weight shortcut; layer1.*.conv3.weight branch_end; layer1.* branch; "
        "incre_modules.*.conv3.weight branch_end; incre_modules.* branch; *.branches.*.conv1.weight branch; "
        "*.branches.*.conv2.weight branch_end; *fuse_layers* trunk; transition* trunk; downsamp_modules* trunk; "
        "final_layer.0.weight trunk; classifier.weight head"
    ),
    "timm:ghostnet_050 3 64 64": (
        "conv_stem.weight stem; *.shortcut.* shortcut; *.ghost1.* branch; *.conv_dw.weight branch; *.se.* gate; "
        "*.ghost2.* branch_end; blocks.9.0.conv.weight trunk; conv_head.weight trunk; classifier.weight head"
    ),
    "timm:repvgg_a0 3 64 64": "stem.* stem; *.conv_* -; head.fc.weight head",
    # The first rows of a block's last weight are added to the shortcut, the others are concatenated (DPN, ReXNet).
    "timm:dpn68 3 64 64": (
        "features.conv1_1.* stem; *.c1x1_w_s?.conv.weight shortcut; *.c1x1_a.conv.weight branch; *.c3x3_b.conv.weight branch; "
        "*.c1x1_c.conv.weight branch_end; classifier.weight head"
    ),
    "timm:dpn48b 3 64 64": (
        "features.conv1_1.* stem; *.c1x1_w_s?.conv.weight shortcut; *.c1x1_a.conv.weight branch; *.c3x3_b.conv.weight branch; "
        "*.c1x1_c1.weight branch_end; *.c1x1_c2.weight trunk; classifier.weight head"
    ),
    "timm:rexnetr_100 3 64 64": (
        "stem.conv.weight stem; features.0.* stem; features.1.* stem; *.se.* gate; features.3.* trunk; features.5.* trunk; "
        "features.11.* trunk; features.16.conv.weight trunk; *.conv_exp.conv.weight branch; *.conv_dw.conv.weight branch; "
        "*.conv_pwl.conv.weight branch_end; head.fc.weight head"
    ),
    # Cells of pairs that are added. A pair of a deeper path and the pooled or plain value that it reads is a residual sum; one
    # of two paths, or of two inputs, is not. In NASNet's first cell an input comes both plain and projected, which can be
    # read either way.
    "timm:nasnetalarge 3 96 96": (
        "conv0.conv.weight stem; cell_stem_0.conv_1x1.* -; cell_stem_0.comb_iter_0_* -; "
        "cell_stem_0.*.separable_2.pointwise_conv2d.weight branch_end; cell_stem_0.* branch; "
        "*.comb_iter_4_left.separable_2.pointwise_conv2d.weight branch_end; *.comb_iter_4_left.* branch; "
        "cell_stem_1.comb_iter_0_left.* branch; reduction_cell_?.comb_iter_0_left.* branch; last_linear.weight head; * trunk"
    ),
    "timm:pnasnet5large 3 96 96": (
        "conv_0.conv.weight stem; cell_stem_0.comb_iter_0_right.conv.weight shortcut; *.comb_iter_2_* branch; "
        "*.comb_iter_4_* trunk; *_left.separable_2.pointwise_conv2d.weight branch_end; *_left.* branch; "
        "last_linear.weight head; * trunk"
    ),
    "timm:xception41 3 64 64": (
        "stem.* stem; *.shortcut.conv.weight shortcut; blocks.12.* trunk; *.stack.conv1* branch; *.stack.conv2* branch; "
        "*.stack.conv3.conv_dw.weight branch; *.stack.conv3.conv_pw.weight branch_end; head.fc.weight head"
    ),
    "timm:legacy_xception 3 64 64": "conv1.weight stem; conv2.weight stem; *.skip.weight shortcut; fc.weight head; * -",
    # attention over images
    "torchvision:vit_b_16 3 224 224": (
        "class_token embedding; encoder.pos_embedding position; conv_proj.weight stem; *.in_proj_weight query; "
        "*.out_proj.weight branch_end; *.mlp.0.weight branch; *.mlp.3.weight branch_end; heads.head.weight head"
    ),
    "torchvision:swin_t 3 64 64": (
        "features.0.0.weight stem; *.relative_position_bias_table position; *.qkv.weight query; *.proj.weight branch_end; "
        "*.mlp.0.weight branch; *.mlp.3.weight branch_end; *.reduction.weight trunk; head.weight head"
    ),
    "timm:test_vit 3 160 160": (
        "cls_token embedding; pos_embed position; patch_embed.proj.weight stem; *.qkv.weight query; *.proj.weight branch_end; "
        + _MLP
        + "; head.weight head"
    ),
    "timm:mixer_s32_224 3 64 64": "stem.proj.weight stem; *.fc1.weight branch; *.fc2.weight branch_end; head.weight head",
    "timm:poolformer_s12 3 64 64": "stem.conv.weight stem; *.downsample.* trunk; " + _MLP + "; head.fc.weight head",
    "hf:vit": (
        "*.cls_token embedding; *.position_embeddings position; *.projection.weight stem; "
        + _ATTENTION
        + "; "
        + _MLP
        + "; classifier.weight head"
    ),
    "hf:clip": (
        "*.patch_embedding.weight stem; *.position_embedding.weight position; "
        + _ATTENTION
        + "; "
        + _MLP
        + "; classifier.weight head"
    ),
    # language
    "hf:bert": _BERT + "cls.predictions.transform.dense.weight trunk",
    "hf:electra": _BERT + "generator_predictions.dense.weight trunk",
    "hf:distilbert": (
        "*.position_embeddings.weight position; *.word_embeddings.weight embedding; *.q_lin.weight query; *.k_lin.weight key; "
        "*.v_lin.weight value; *.out_lin.weight branch_end; *.lin1.weight branch; *.lin2.weight branch_end; "
        "vocab_transform.weight trunk"
    ),
    "hf:albert": (
        "*.position_embeddings.weight position; *embeddings*.weight embedding; *.embedding_hidden_mapping_in.weight stem; "
        "*.query.weight query; *.key.weight key; *.value.weight value; *.attention.dense.weight branch_end; "
        "*.ffn.weight branch; *.ffn_output.weight branch_end; predictions.dense.weight trunk"
    ),
    "hf:gpt2": (
        "*.wte.weight embedding; *.wpe.weight position; *.c_attn.weight query; *.c_proj.weight branch_end; *.c_fc.weight branch"
    ),
    "hf:opt": "*.embed_tokens.weight embedding; *.embed_positions.weight position; " + _ATTENTION + "; " + _MLP,
    "hf:gpt_neox": "gpt_neox.embed_in.weight embedding; " + _NEOX + "lm_head.weight head",
    "hf:bloom": "*.word_embeddings.weight embedding; " + _NEOX,
    "hf:falcon": "*.word_embeddings.weight embedding; " + _NEOX,
    "hf:llama": "*.embed_tokens.weight embedding; " + _ATTENTION + "; " + _GATED + "; lm_head.weight head",
    "hf:mistral": "*.embed_tokens.weight embedding; " + _ATTENTION + "; " + _GATED + "; lm_head.weight head",
    "hf:gemma2": "*.embed_tokens.weight embedding; " + _ATTENTION + "; " + _GATED,
    "hf:phi": (
        "*.embed_tokens.weight embedding; " + _ATTENTION + "; *.dense.weight branch_end; " + _MLP + "; lm_head.weight head"
    ),
    "hf:mixtral": (
        "*.embed_tokens.weight embedding; " + _ATTENTION + "; *.mlp.gate.weight gate; *.gate_up_proj branch; "
        "*.experts.down_proj branch_end; lm_head.weight head"
    ),
    "hf:qwen3_moe": (
        "*.embed_tokens.weight embedding; " + _ATTENTION + "; *.mlp.gate.weight gate; *.gate_up_proj branch; "
        "*.experts.down_proj branch_end; lm_head.weight head"
    ),
    "hf:mamba": (
        "backbone.embeddings.weight embedding; *.in_proj.weight branch; *.conv1d.weight branch; "
        "*.out_proj.weight branch_end; * -"
    ),
    "hf:t5": _T5,
    "hf:mt5": _T5.replace("*.wi.weight branch", "*.wi_0.weight gate; *.wi_1.weight branch") + "; lm_head.weight head",
    "hf:bart": "*.shared.weight embedding; *.embed_positions.weight position; " + _ATTENTION + "; " + _MLP,
    # sound
    "hf:whisper": (
        "*.encoder.embed_positions.weight -; *.embed_tokens.weight embedding; *.embed_positions.weight position; "
        "*.conv1.weight stem; *.conv2.weight stem; " + _ATTENTION + "; " + _MLP
    ),
    "hf:wav2vec2": (
        "*.feature_extractor.* stem; *.projection.weight stem; *.pos_conv_embed.* -; "
        + _ATTENTION
        + "; *.intermediate_dense.weight branch; *.output_dense.weight branch_end; lm_head.weight head"
    ),
    # more of each
    "torchvision:vgg13 3 64 64": "features.0.weight stem; classifier.6.weight head; * trunk",
    "torchvision:resnet50 3 64 64": _RESNET + _BOTTLENECK + "fc.weight head",
    "timm:test_resnet 3 64 64": (
        "conv1.* stem; *.downsample.0.weight shortcut; *.downsample.1.weight shortcut; layer1.*.conv1.weight branch; "
        "layer1.*.conv2.weight branch_end; layer2.*.conv3.weight -; layer3.*.conv3.weight -; * -"
    ),
    "timm:deit_tiny_patch16_224 3 224 224": (
        "cls_token embedding; pos_embed position; patch_embed.proj.weight stem; *.qkv.weight query; *.proj.weight branch_end; "
        + _MLP
        + "; head.weight head"
    ),
    "hf:roberta": _BERT.replace("bert.", "roberta.") + "lm_head.dense.weight trunk",
    "hf:qwen2": "*.embed_tokens.weight embedding; " + _ATTENTION + "; " + _GATED + "; lm_head.weight head",
    "hf:qwen3": "*.embed_tokens.weight embedding; " + _ATTENTION + "; " + _GATED + "; lm_head.weight head",
    "hf:stablelm": "*.embed_tokens.weight embedding; " + _ATTENTION + "; " + _GATED + "; lm_head.weight head",
    "hf:olmo2": "*.embed_tokens.weight embedding; " + _ATTENTION + "; " + _GATED + "; lm_head.weight head",
    "hf:marian": "*.shared.weight embedding; *.embed_positions.weight -; " + _ATTENTION + "; " + _MLP,
}


def labels_of(network: str) -> str | None:
    """The labels of a network by its name in `idinit.zoo`, without a shape; None where there are none."""
    return next((labels for name, labels in LABELS.items() if name.split()[0] == network), None)


def expected_parts(model: nn.Module, labels: str) -> dict[str, str]:
    """The expected part of every decisive weight, by the parameter's name."""
    rules = [rule.split() for rule in labels.split(";")]
    names = [name for name, parameter in model.named_parameters() if parameter.ndim > 1]
    expected = {name: next(part for pattern, part in rules if fnmatchcase(name, pattern)) for name in names}
    return {name: part for name, part in expected.items() if part != "-"}


def wrong_labels(expected: Mapping[str, str], found: Mapping[str, str]) -> dict[str, tuple[str, str | None]]:
    """The weights whose part is not the expected one: (expected, found)."""
    return {name: (part, found.get(name)) for name, part in expected.items() if found.get(name) != part}
