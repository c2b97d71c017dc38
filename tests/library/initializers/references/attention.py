"""Weights of transformers, by the number of layers or the heads of attention."""

import math

import torch


def small_init(ref):
    """N(0, 2 / (5 d)); the ends of branches N(0, (2 / (L sqrt d))^2)."""
    d, depth = 16, len(ref.heads)
    for name in ref.matrices():
        is_end = ref.parts[name] == "branch_end"
        ref.normal(name, 2 / depth / math.sqrt(d) if is_end else math.sqrt(2 / (5 * d)))
    ref.norms_and_biases()


def conditioned(ref):
    """Values the identity, each head's queries and keys orthonormal, the rest as torch does."""
    for name in ref.matrices():
        if ref.parts[name] == "value":
            ref.values[name] = torch.eye(*ref.shapes[name])
        elif ref.parts[name] in ("query", "key"):
            rows, columns = ref.shapes[name]
            size = ref.heads[0].size
            ref.values[name] = torch.cat([ref.orthogonal(size, columns) for _ in range(rows // size)])
        else:
            ref.torch_default(name)
    ref.norms_and_biases()


def mimetic(ref, weights="qkvo", query_noise=0.7, query_identity=0.7, value_noise=None, value_identity=None):
    """Wq' Wk near 0.7 Z + 0.7 I in each head, Wo Wv = 0.4 Z - 0.4 I, by singular value decomposition.

    With weights="vo", Wv = sqrt(0.05) I and Wo = -sqrt(0.05) I, both with noise of 0.01.
    """

    def split(noise, identity, width):
        z = torch.empty(width, width).normal_(generator=ref.generator) / math.sqrt(width)
        u, s, vh = torch.linalg.svd(noise * z + identity * torch.eye(width))
        root = torch.diag(s.sqrt())
        return u @ root, root @ vh

    is_whole = weights == "qkvo"
    value_noise = value_noise if value_noise is not None else 0.4 if is_whole else 0.01
    value_identity = value_identity if value_identity is not None else 0.4 if is_whole else 0.05
    ends = {heads.output for heads in ref.heads}
    for name in ref.matrices():
        if name not in ends and ref.parts[name] not in (("query", "key", "value") if is_whole else ("value",)):
            ref.torch_default(name)
    for heads in ref.heads:
        query, value, width = f"{heads.query}:query", f"{heads.value}:value", ref.shapes[heads.output][0]
        if is_whole:
            halves = [split(query_noise, query_identity, width) for _ in range(ref.shapes[query][0] // heads.size)]
            ref.values[query] = torch.cat([left[:, : heads.size].T for left, _ in halves])
            ref.values[f"{heads.key}:key"] = torch.cat([right[: heads.size] for _, right in halves])
            ref.values[heads.output], ref.values[value] = split(value_noise, -value_identity, width)
        else:
            for name, sign in ((value, 1), (heads.output, -1)):
                ref.normal(name, value_noise)
                ref.values[name] += sign * math.sqrt(value_identity) * torch.eye(width)
    ref.norms_and_biases()


def t_fixup(ref):
    """Xavier; values, outputs and feed-forward times 0.67 N^(-1/4); gain 1/sqrt(2) of queries and keys."""
    count = len(ref.heads)
    for name in ref.matrices():
        part = ref.parts[name]
        if part in ("query", "key"):
            ref.xavier(name, 1 / math.sqrt(2))
        else:
            ref.xavier(name, 0.67 * count ** (-1 / 4) if part in ("value", "branch", "branch_end") else 1)
    ref.norms_and_biases()


def deepnorm(ref):
    """Xavier normal with gain (8 N)^(-1/4); the branch times (2 N)^(-1/4)."""
    count = len(ref.heads)
    for name in ref.matrices():
        is_scaled = ref.parts[name] in ("value", "branch", "branch_end")
        ref.xavier(name, (8 * count) ** (-1 / 4) if is_scaled else 1, "normal")
    for branch in ref.branches:
        ref.scalar(branch.end.replace("weight", "output_scale.value"), (2 * count) ** (-1 / 4))
    ref.norms_and_biases()
