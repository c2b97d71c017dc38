import torch

from idinit_suite.data.mlm.masking import Masking

MASKING = Masking(count=19, mask=4, special=5, vocabulary=1000)


def masked(rows: int = 500, length: int = 128, seed: int = 0) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, 1000, (rows, length), generator=random)
    tokens[:, 0] = 2
    tokens[:, 50] = 3
    (shown, positions), targets = MASKING(tokens, random)
    return tokens, shown, positions, targets


def test_every_text_has_the_same_number_of_different_positions_in_order() -> None:
    tokens, _, positions, targets = masked()
    assert positions.shape == targets.shape == (500, 19)
    assert (positions.diff() > 0).all()
    assert torch.equal(tokens.gather(1, positions), targets)


def test_special_tokens_are_neither_chosen_nor_drawn() -> None:
    tokens, shown, positions, targets = masked()
    assert (targets >= 5).all()
    assert not ((positions == 0) | (positions == 50)).any()
    changed = shown[(shown != tokens) & (shown != 4)]
    assert (changed >= 5).all()


def test_the_rest_of_the_text_stays() -> None:
    tokens, shown, positions, _ = masked()
    others = torch.ones_like(tokens, dtype=torch.bool).scatter(1, positions, False)
    assert torch.equal(shown[others], tokens[others])


def test_four_fifths_become_the_mask_a_tenth_another_token_and_a_tenth_stay() -> None:
    tokens, shown, positions, targets = masked(rows=4000)
    at = shown.gather(1, positions)
    count = at.numel()
    shares = [(at == 4).sum() / count, ((at != 4) & (at != targets)).sum() / count, (at == targets).sum() / count]
    # 76,000 draws: three standard errors are below 0.005
    for share, expected in zip(shares, (0.8, 0.1, 0.1), strict=True):
        assert abs(share.item() - expected) < 0.005


def test_positions_are_uniform_over_the_text() -> None:
    _, _, positions, _ = masked(rows=4000)
    counts = torch.bincount(positions.flatten(), minlength=128).float()
    free = torch.cat([counts[1:50], counts[51:]])
    expected = 4000 * 19 / 126
    assert ((free - expected).abs() < 5 * expected**0.5).all()


def test_the_generator_decides() -> None:
    assert all(torch.equal(a, b) for a, b in zip(masked(), masked(), strict=True))
    assert not torch.equal(masked()[2], masked(seed=1)[2])
