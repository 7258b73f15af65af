"""Two networks with a device in each."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .profiles import ALL, Profile

__all__ = ["Pair", "every_pair", "network_of", "networks_of", "pair_of"]

BETWEEN = ":"
KNOWN: Mapping[str, Profile] = {each.name.lower(): each for each in ALL}


@dataclass(frozen=True)
class Pair:
    """Two networks with a device in each: alice lives in the first and begins, bob lives in the second."""

    first: Profile
    second: Profile

    @property
    def devices(self) -> tuple[str, str]:
        """Names; in several pairs of one network, its alice is the same device, and so is its bob."""
        return f"alice in {self.first.name}", f"bob in {self.second.name}"

    @property
    def places(self) -> dict[str, Profile]:
        """The networks by name of the device."""
        return dict(zip(self.devices, (self.first, self.second), strict=True))

    def __str__(self) -> str:
        return f"{self.first.name} with {self.second.name}"


def pair_of(text: str) -> Pair:
    """The networks that `home:mobile` names. Raises ValueError as `network_of`."""
    first, between, second = text.partition(BETWEEN)
    if not between:
        raise ValueError(f"{text!r} is no pair of networks like home{BETWEEN}mobile")
    return Pair(network_of(first), network_of(second))


def networks_of(text: str) -> tuple[Profile, ...]:
    """The networks that `home,mobile` names, those with more freedom first. Raises ValueError as `network_of`.

    `UDP blocked, public` is the name of one, and `UDP blocked,public` are two.
    """
    words = text.split(",")
    named = set()
    while words:
        first_two = ",".join(words[:2])
        length = 2 if first_two.strip().lower() in KNOWN else 1
        named.add(network_of(",".join(words[:length])))
        words = words[length:]
    return tuple(each for each in ALL if each in named)


def every_pair(kinds: Sequence[Profile]) -> tuple[Pair, ...]:
    """All pairs, of each kind with itself as well. `kinds`: those with more freedom first.

    The one with less freedom begins, so that it is asked before the other for what it does not get.
    """
    return tuple(itertools.starmap(Pair, itertools.combinations_with_replacement(reversed(kinds), 2)))


def network_of(text: str) -> Profile:
    """The network of that name, in any case. Raises ValueError with a sentence, and the nearest name."""
    name = text.strip().lower()
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=1)
        names = ", ".join(repr(each.name) for each in ALL)
        hint = f"; did you mean {KNOWN[near[0]].name}?" if near else f"; there are {names}"
        raise ValueError(f"there is no network {text.strip()!r}{hint}")
    return KNOWN[name]
