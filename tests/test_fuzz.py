"""Every fuzz target on the inputs in the repository, and on some hundred more made from them."""

from __future__ import annotations

from itertools import islice

import pytest

from fuzz.mutation import mutations
from fuzz.targets import CORPUS, TARGETS, seeds

INPUTS = 150


def test_each_target_has_seeds_and_each_seed_a_target() -> None:
    assert {each.name for each in CORPUS.iterdir()} == set(TARGETS)
    assert all(len(seeds(target)) >= 2 for target in TARGETS)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_no_exception_of_ours_escapes(target: str) -> None:
    """`python -m fuzz TARGET` goes on where this ends."""
    known = seeds(target)
    for data in (b"", *known, *islice(mutations(known, seed=1), INPUTS)):
        try:
            TARGETS[target](data)
        except Exception as error:
            raise AssertionError(f"{target} broke on {data[:200]!r} ({len(data)} bytes)") from error
