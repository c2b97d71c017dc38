from __future__ import annotations

import pytest
import torch
from torch import Tensor

from idinit_suite.data.images.augment import Augmentation, Draws, normalize, pad

MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])


def images(count: int = 12, channels: int = 3, side: int = 32) -> Tensor:
    return torch.randint(256, (count, channels, side, side), generator=rng(1), dtype=torch.uint8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels_reference(whole: Tensor, index: Tensor, draws: Draws, padding: int) -> Tensor:
    """Pixel by pixel: the crop's (y, x) is the image's (y + top - padding, x + left - padding), black outside."""
    side = whole.shape[-1]
    result = torch.zeros(len(index), whole.shape[1], side, side, dtype=torch.uint8)
    for b, i in enumerate(index.tolist()):
        for y in range(side):
            for x in range(side):
                column = side - 1 - x if draws.flip[b] else x
                row_in, column_in = y + int(draws.top[b]) - padding, column + int(draws.left[b]) - padding
                if 0 <= row_in < side and 0 <= column_in < side:
                    result[b, :, y, x] = whole[i, :, row_in, column_in]
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize("flip", [False, True])
def test_pixels_equal_the_literal_reference(channels: int, padding: int, flip: bool) -> None:
    whole, augmentation = images(channels=channels), Augmentation(padding, flip)
    index = torch.tensor([3, 0, 11, 3, 7, 5])
    draws = augmentation.draw(len(index), (32, 32), rng())
    result = augmentation.pixels(pad(whole, padding), index, draws)
    assert torch.equal(result.permute(0, 3, 1, 2), pixels_reference(whole, index, draws, padding))


def test_images_need_not_be_square() -> None:
    whole = images(3)[:, :, :20]
    augmentation = Augmentation(padding=2, flip=False)
    draws = Draws(torch.tensor([4, 0, 2]), torch.tensor([0, 4, 2]), torch.zeros(3).bool(), torch.zeros(2, 3).long())
    result = augmentation.pixels(pad(whole, 2), torch.arange(3), draws).permute(0, 3, 1, 2)
    assert torch.equal(result[0, :, :18, 2:], whole[0, :, 2:, :30])
    assert torch.equal(result[1, :, 2:, :30], whole[1, :, :18, 2:])
    assert not result[0, :, 18:].any()
    assert torch.equal(result[2], whole[2])


def test_draws_are_uniform_and_cover_their_range() -> None:
    draws = Augmentation(padding=4, flip=True).draw(9000, (32, 32), rng())
    for offset in (draws.top, draws.left):
        counts = torch.bincount(offset, minlength=9)
        assert len(counts) == 9
        assert ((counts - 1000).abs() < 150).all()  # five standard deviations
    assert abs(draws.flip.float().mean().item() - 0.5) < 0.03
    for centre in draws.centre:
        assert len(torch.bincount(centre, minlength=32)) == 32
        assert abs(centre.float().mean().item() - 15.5) < 0.5
    correlation = torch.corrcoef(torch.stack([draws.top, draws.left, draws.flip, *draws.centre]).double())
    assert (correlation - torch.eye(5)).abs().max() < 0.05


def test_draws_depend_on_the_generator_alone() -> None:
    augmentation = Augmentation()
    first, again, other = (augmentation.draw(64, (32, 32), rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.top, again.top) and torch.equal(first.flip, again.flip)
    assert not torch.equal(first.top, other.top)


def test_no_flip_and_no_padding_leave_images_as_they_are() -> None:
    whole, augmentation = images(), Augmentation(padding=0, flip=False)
    draws = augmentation.draw(12, (32, 32), rng())
    assert torch.equal(augmentation.pixels(pad(whole, 0), torch.arange(12), draws), whole.permute(0, 2, 3, 1))


def test_a_share_of_the_draws_gives_a_share_of_the_batch() -> None:
    whole, augmentation = pad(images(), 4), Augmentation(padding=4)
    index = torch.randint(12, (10,), generator=rng())
    draws = augmentation.draw(10, (32, 32), rng())
    all_of_it = augmentation.pixels(whole, index, draws)
    assert torch.equal(augmentation.pixels(whole, index[6:9], draws[6:9]), all_of_it[6:9])


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalize_has_the_textbook_values_in_the_asked_memory_format(channels_last: bool) -> None:
    whole = images()
    result = normalize(whole.permute(0, 2, 3, 1), MEAN, STD, channels_last=channels_last)
    textbook = (whole.double() / 255 - MEAN.double()[:, None, None]) / STD.double()[:, None, None]
    torch.testing.assert_close(result.double(), textbook, rtol=0, atol=1e-6)
    assert result.dtype == torch.float32
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    assert result.is_contiguous(memory_format=memory_format)


def test_memory_format_does_not_change_a_bit() -> None:
    whole = images().permute(0, 2, 3, 1)
    assert torch.equal(normalize(whole, MEAN, STD), normalize(whole, MEAN, STD, channels_last=True))


@pytest.mark.parametrize("size", [1, 8, 15])
@pytest.mark.parametrize("channels_last", [False, True])
def test_cut_equals_the_literal_reference(size: int, channels_last: bool) -> None:
    augmentation = Augmentation(cutout=size)
    batch = normalize(images(40).permute(0, 2, 3, 1), MEAN, STD, channels_last=channels_last)
    draws = augmentation.draw(40, (32, 32), rng())
    expected = batch.clone()
    for image, centre_y, centre_x in zip(expected, *draws.centre.tolist(), strict=True):
        for y in range(max(0, centre_y - size // 2), min(32, centre_y - size // 2 + size)):
            for x in range(max(0, centre_x - size // 2), min(32, centre_x - size // 2 + size)):
                image[:, y, x] = 0
    assert torch.equal(augmentation.cut(batch, draws), expected)


def test_no_cutout_leaves_the_batch_alone() -> None:
    batch = torch.ones(2, 3, 32, 32)
    augmentation = Augmentation()
    assert augmentation.cut(batch, augmentation.draw(2, (32, 32), rng())).all()
