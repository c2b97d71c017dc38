from __future__ import annotations

import pytest
import torch
from torch import nn

from idinit.errors import UsageError
from idinit_suite.data import Sentences
from idinit_suite.models import MODELS
from idinit_suite.models.text_classifiers import sinusoids

NAMES = [name for name in MODELS if MODELS[name].info.takes is Sentences]
SPEC = Sentences(50, 12, 0, 3, torch.randn(50, 10, generator=torch.Generator().manual_seed(0)))


def make(name: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name].build(SPEC, **MODELS.check(name, options)).eval()


def words(*rows: list[int]) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


@pytest.mark.parametrize("name", NAMES)
def test_maps_a_batch_to_logits(name: str) -> None:
    logits = make(name)(words([3], [4, 5, 6, 7, 8, 9], [1, 2]))
    assert logits.shape == (3, 3) and logits.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_answer_does_not_depend_on_the_padding(name: str, mode: str) -> None:
    model = make(name, dropout=0.0)
    model.train(mode == "train")
    with torch.no_grad():
        model.embedding.weight[0] = 100.0  # not even where an initializer has filled the padding's vector
    rows = [[7], [3, 4], [5, 6, 7, 8, 9]]
    alone = torch.cat([model(words(row)) for row in rows])
    torch.testing.assert_close(model(words(*rows, list(range(1, 13))))[:3], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_words_matters(name: str) -> None:
    one, two = make(name)(words([3, 4, 5, 6], [6, 5, 4, 3]))
    assert not torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_vectors_are_the_datas_and_are_trained(name: str) -> None:
    model = make(name)
    assert model.pretrained == ("embedding.weight",)
    assert torch.equal(model.embedding.weight, SPEC.vectors)
    model(words([3, 4])).sum().backward()
    assert model.embedding.weight.grad[3].abs().sum() > 0
    assert model.embedding.weight.data_ptr() != SPEC.vectors.data_ptr()


def test_textcnn_is_kims() -> None:
    model = make("textcnn")
    kernels = {tuple(p.shape) for n, p in model.named_parameters() if "convolutions" in n and p.ndim == 3}
    assert kernels == {(100, 10, 3), (100, 10, 4), (100, 10, 5)}
    assert model.head.weight.shape == (3, 300) and model.dropout.p == 0.5
    # Written out for one text: the largest answer of each filter over all windows that hold a word.
    text = [3, 4, 5, 6, 7]
    vectors = torch.cat([torch.zeros(4, 10), SPEC.vectors[text], torch.zeros(4, 10)])
    features = []
    for convolution in model.encoder.convolutions:
        size = convolution.kernel_size[0]
        windows = vectors[5 - size : 9 + size - 1].unfold(0, size, 1)  # [positions, 10, size]
        answers = torch.einsum("pis,ois->po", windows, convolution.weight) + convolution.bias
        features.append(answers.relu().amax(0))
    torch.testing.assert_close(model(words(text))[0], model.head(torch.cat(features)), atol=1e-5, rtol=1e-5)


def test_textrnn_reads_in_both_directions() -> None:
    model = make("textrnn", hidden=7)
    text = SPEC.vectors[[3, 4, 5]][None]
    _, (state, _) = model.encoder.lstm(text)
    torch.testing.assert_close(model(words([3, 4, 5])), model.head(state.transpose(0, 1).flatten(1)))


def test_transformer_positions_are_those_of_vaswani_et_al() -> None:
    waves = sinusoids(5, 6)
    for position in range(5):
        for i in range(3):
            angle = torch.tensor(position / 10_000 ** (2 * i / 6))
            torch.testing.assert_close(waves[position, 2 * i], angle.sin())
            torch.testing.assert_close(waves[position, 2 * i + 1], angle.cos())
    assert sinusoids(4, 5).shape == (4, 5)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.heads=3 .*model\.width=128"):
        make("text_transformer", heads=3)
    with pytest.raises(UsageError, match=r"13 words.* 12: raise data\.length"):
        make("text_transformer")(words(list(range(1, 14))))
