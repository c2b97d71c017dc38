"""What PyTorch's operators do, by their names."""

from __future__ import annotations

NORMS = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "_fused_rms_norm", "native_batch_norm",
    "native_layer_norm", "native_group_norm", "cudnn_batch_norm", "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
}  # fmt: skip
RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
SOFTMAXES = {"softmax", "_softmax"}
LOOKUPS = {"embedding", "embedding_bag"}
# Products of two matrices, the weights of a linear map among them. `linear` and convolutions are known by their weight.
PRODUCTS = {"mm", "matmul", "bmm", "baddbmm", "addbmm", "addmm", "addmv", "mv", "einsum", "bilinear"}
SUMS = {"add", "sub", "lerp"}
# The result is the operand, element for element (dropout in evaluation mode).
SAME = {
    "contiguous", "clone", "to", "type_as", "_to_copy", "alias", "detach", "dropout", "feature_dropout", "alpha_dropout",
    "lift_fresh_copy",
}  # fmt: skip
# Each element of the result is an element of the operand, or zero.
REARRANGEMENTS = SAME | {
    "view", "view_as", "_unsafe_view", "reshape", "reshape_as", "flatten", "unflatten", "permute", "transpose", "t", "numpy_T",
    "mT", "movedim", "swapaxes", "squeeze", "unsqueeze", "expand", "expand_as", "repeat", "repeat_interleave", "tile", "roll",
    "flip", "select", "slice", "narrow", "split", "split_with_sizes", "unsafe_split", "chunk", "unbind", "tensor_split",
    "getitem", "index", "index_select", "unfold", "im2col", "pad", "constant_pad_nd", "pixel_shuffle", "pixel_unshuffle",
}  # fmt: skip
# Each element of the result is made of several of the operand, along dimensions that do not number channels.
POOLS = {
    "amax", "mean", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
}  # fmt: skip
# The second operand only gives the shape or the type of the result.
LIKE_ANOTHER = {"type_as", "view_as", "reshape_as", "expand_as"}
ZEROS = {"zeros", "new_zeros", "zeros_like"}  # the first state of a recurrence
# The result depends on the operand's shape, not on its values.
SHAPE_ONLY = {
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full",
    "new_empty", "sym_size", "sym_numel", "size",
}  # fmt: skip
# Activation functions as gates: where two of them are multiplied, the higher one is the gate.
GATE_RANK = {
    **dict.fromkeys(("sigmoid", "hardsigmoid", "exp", "softmax", "_softmax", "clamp", "hardtanh", "relu6"), 2),
    **dict.fromkeys(("tanh", "silu", "gelu", "relu", "hardswish", "mish", "elu", "softplus", "leaky_relu", "softsign"), 1),
}
# Finer grids from coarser ones; so do convolutions that are transposed.
UPSAMPLINGS = ("upsample", "_upsample", "pixel_shuffle", "conv_transpose")
