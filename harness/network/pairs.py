"""Two networks with a device in each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from .profiles import ALL, Profile

__all__ = ["Pair", "pair_of"]

BETWEEN = ":"


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
    """The networks that `home:mobile` names. Raises ValueError with a sentence, and the nearest name."""
    first, between, second = text.partition(BETWEEN)
    if not between:
        raise ValueError(f"{text!r} is no pair of networks like home{BETWEEN}mobile")
    return Pair(_profile(first), _profile(second))


def _profile(text: str) -> Profile:
    known = {each.name.lower(): each for each in ALL}
    name = text.strip().lower()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        names = ", ".join(repr(each.name) for each in ALL)
        hint = f"; did you mean {known[near[0]].name}?" if near else f"; there are {names}"
        raise ValueError(f"there is no network {text.strip()!r}{hint}")
    return known[name]
