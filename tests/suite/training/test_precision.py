"""What the precision of a run means for its forward passes."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from idinit_suite.config import check, compose
from idinit_suite.training.attention import PlainAttention
from idinit_suite.training.precision import autocast


def attended(precision: str) -> tuple[Tensor, Tensor]:
    """Attention under a run's precision, and the same in float64 by its definition; both with a gradient to come."""
    config = check(compose(["model=mlp", "data=digits", f"train.precision={precision}", "impl.device=cpu"]))
    query, key, value = torch.randn(3, 2, 4, 16, 8, generator=torch.Generator().manual_seed(0)).requires_grad_().unbind()
    with autocast(config, torch.device("cpu")):
        output = F.scaled_dot_product_attention(query, key, value)
    scores = query.double() @ key.double().mT / 8**0.5
    return output, scores.softmax(3) @ value.double()


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("bf16", 2e-2)])
def test_attention_is_the_same_in_every_precision(precision: str, tolerance: float) -> None:
    output, expected = attended(precision)
    assert (output - expected).abs().max().item() < tolerance


def test_attention_in_bf16_on_the_cpu_avoids_torchs_slow_kernel() -> None:
    assert "Flash" in str(attended("float32")[0].grad_fn)
    assert attended("bf16")[0].dtype == torch.bfloat16
    assert "Flash" not in str(attended("bf16")[0].grad_fn)


def test_written_out_attention_is_torchs() -> None:
    query, key, value = torch.randn(3, 2, 4, 16, 8, generator=torch.Generator().manual_seed(1)).unbind()
    mask = torch.ones(16, 16, dtype=torch.bool).tril()
    for options in ({}, {"scale": 0.3}, {"is_causal": True}, {"attn_mask": mask}):
        expected = F.scaled_dot_product_attention(query, key, value, **options)
        with PlainAttention():
            torch.testing.assert_close(F.scaled_dot_product_attention(query, key, value, **options), expected)


def test_written_out_attention_drops_weights() -> None:
    query, key, value = torch.zeros(2, 4, 2), torch.zeros(2, 1000, 2), torch.ones(2, 1000, 2)
    with PlainAttention():
        outputs = F.scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    assert outputs.std() > 0.01  # without dropout, the mean of a thousand ones
    assert outputs.mean().item() == pytest.approx(1, abs=0.1)
