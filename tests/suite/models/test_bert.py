from __future__ import annotations

import pytest
import torch
from torch import nn

from idinit.errors import UsageError
from idinit_suite.data import MaskedTokens
from idinit_suite.models import MODELS

SPEC = MaskedTokens(200, 16, 0)
TOKENS = torch.randint(5, 200, (3, 16), generator=torch.Generator().manual_seed(0))
POSITIONS = torch.tensor([[1, 5], [2, 9], [0, 15]])


def make(spec: MaskedTokens = SPEC, **options: object) -> nn.Module:
    small = {"width": 32, "depth": 2, "heads": 4, "hidden": 64, "positions": 16, **options}
    return MODELS["bert"].build(spec, **MODELS.check("bert", small))


def test_its_guesses_are_those_of_transformers_where_it_is_asked() -> None:
    model = make().eval()
    whole = model.bert(input_ids=TOKENS).logits
    expected = torch.cat([whole[row, POSITIONS[row]] for row in range(3)])
    torch.testing.assert_close(model(TOKENS, POSITIONS), expected)


def test_its_gradients_are_those_of_transformers_loss() -> None:
    model = make(dropout=0.0)
    labels = torch.full_like(TOKENS, -100).scatter(1, POSITIONS, TOKENS.gather(1, POSITIONS))
    model.bert(input_ids=TOKENS, labels=labels).loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    nn.functional.cross_entropy(model(TOKENS, POSITIONS), TOKENS.gather(1, POSITIONS).flatten()).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, expected[name], atol=1e-6, rtol=1e-4)


def test_bert_base_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = MODELS["bert"].build(MaskedTokens(30522, 512, 0), **MODELS.check("bert", {}))
    encoder = sum(p.numel() for p in model.bert.bert.parameters())
    assert round(encoder / 1e6) == 109  # 110 M in Devlin et al. 2019, with a pooler that only sentence tasks need
    assert model.bert.config._attn_implementation == "sdpa"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.length=16 .*model\.positions=8"):
        make(positions=8)
    with pytest.raises(UsageError, match=r"model\.heads=5 .*model\.width=32"):
        make(heads=5)
