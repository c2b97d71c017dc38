from __future__ import annotations

import hashlib

import torch

from idinit_suite.seeds import derive, generator


def test_derive_is_the_first_63_bits_of_sha256_of_the_text() -> None:
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(b"(3, 'augment', 17)").digest())
    assert derive(3, "augment", 17) == int(bits[:63], 2)


def test_derive_is_the_same_on_every_machine() -> None:
    assert derive(0, "order", 0) == 1864822792221289227


def test_each_seed_and_purpose_has_its_own_number() -> None:
    keys = [(seed, purpose, step) for seed in range(5) for purpose in ("order", "augment") for step in range(20)]
    assert len({derive(*key) for key in keys}) == len(keys)
    assert derive(1, 23) != derive(12, 3)
    assert derive(1, "2") != derive(1, 2)


def test_generator_starts_from_the_derived_seed_and_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    drawn = torch.rand(4, generator=generator(7, "init"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(drawn, torch.rand(4, generator=torch.Generator().manual_seed(derive(7, "init"))))
