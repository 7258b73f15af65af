"""The tests of madmail's own suite by number and name, and the order in which they run (docs/madmail-suite.md)."""

from __future__ import annotations

import random
from collections.abc import Iterable

__all__ = ["NAMES", "in_order", "select"]

NAMES = {
    1: "Account Creation",
    2: "Unencrypted Rejection",
    3: "Secure Join",
    4: "P2P Encrypted Msg",
    5: "Group Message",
    6: "File Transfer",
    7: "Federation",
    8: "No Logging",
    9: "Big File",
    10: "Upgrade Mechanism",
    11: "JIT Registration",
    12: "SMTP/IMAP IDLE",
    13: "Concurrent Profiles",
    14: "Purge Messages",
    15: "Iroh Discovery",
    16: "WebXDC Realtime",
    17: "Admin API",
    18: "Stealth Mode",
    19: "Login Validation",
    20: "Exchanger E2E",
    21: "PHP Exchanger E2E",
    22: "MxDeliv Security",
    23: "Bigfile Roundtrip",
}
ONLY_WHEN_NAMED = frozenset({20, 21})
FIRST = (20, 21, 22)


def in_order(numbers: Iterable[int], seed: int | None = None) -> list[int]:
    """20, 21 and 22 come first, then the others by number, or in an order that follows from the seed."""
    found = sorted(numbers, key=lambda number: (number not in FIRST, number))
    if seed is None:
        return found
    others = [number for number in found if number not in FIRST]
    random.Random(seed).shuffle(others)  # noqa: S311 - nobody is to be kept from guessing it
    return [*(number for number in found if number in FIRST), *others]


def select(
    named: Iterable[int], *, everything: bool, without: Iterable[int], seed: int | None = None
) -> list[int]:
    """The numbers to run. No name means all of them; 20 and 21 run only when they are named."""
    chosen = set(named)
    if everything or not chosen:
        chosen |= set(NAMES) - ONLY_WHEN_NAMED
    return in_order(chosen - set(without), seed)
