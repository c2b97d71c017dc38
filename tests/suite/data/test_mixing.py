from __future__ import annotations

import numpy as np
import pytest
import torch

from idinit_suite.data import Mixed
from idinit_suite.data.images.mixing import Mixing, _box
from idinit_suite.seeds import generator


def test_what_mixup_and_cutmix_make() -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    for number in range(20):
        (mixed,), target = Mixing(mixup=1.0)(images.clone(), labels, torch.Generator().manual_seed(number))
        assert isinstance(target, Mixed) and target.labels_b.tolist() == [1, 0, 3, 2]
        assert torch.allclose(mixed, target.lam * images + (1 - target.lam) * images[[1, 0, 3, 2]], atol=1e-6)
        (cut,), target = Mixing(cutmix=1.0)(images.clone(), labels, torch.Generator().manual_seed(number))
        from_partner = (cut == images[[1, 0, 3, 2]]).all(1)
        assert torch.equal(from_partner | (cut == images).all(1), torch.ones(4, 8, 8, dtype=torch.bool))
        assert from_partner.float().mean() == pytest.approx(1 - float(target.lam))
    weights = [float(Mixing(mixup=0.2)(images.clone(), labels, generator(0, "mix", n))[1].lam) for n in range(1000)]
    assert np.mean(weights) == pytest.approx(0.5, abs=0.05)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * 0.2 + 1)), abs=0.02)  # of Beta(a, a)


def test_a_box_has_its_share_of_the_area() -> None:
    shares = []
    for number in range(200):
        rows, columns, left = _box(64, 64, 0.75, torch.Generator().manual_seed(number))
        assert left == 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / 64**2
        shares.append(left)
    assert min(shares) == pytest.approx(0.75) and max(shares) < 0.95
