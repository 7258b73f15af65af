"""A cause: something that is wrong with a deployment, in words for whoever runs it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["Cause", "Weight"]

ANYWHERE = "anywhere"


class Weight(enum.StrEnum):
    """How much a cause matters."""

    SICK = "sick"
    """People notice it: something that the server offers does not work."""
    RISK = "risk"
    """Nobody notices it, until somebody makes use of it."""
    NOTE = "note"
    """Worth knowing; the server works without."""


@dataclass(frozen=True)
class Cause:
    """One entry of the catalogue. Sentences are about any server; what was measured at one is its evidence."""

    name: str
    """For ever the same: the service, a dot, and what is wrong there."""
    sentence: str
    sure: str
    """Measurements that tell it from other causes."""
    harm: str
    """For the users of the server, or for others."""
    change: Mapping[str, str]
    """Program, or place, to what is to be changed in it. `anywhere` stands for all that are not named."""
    explains: tuple[str, ...] = ()
    """Checks that fail because of it, by name or as a pattern like `turn.*`: none of them is a finding of its own."""
    weight: Weight = Weight.SICK

    def advice(self) -> Iterator[str]:
        """What to change, a sentence for each place."""
        for place, change in self.change.items():
            yield change if place == ANYWHERE else f"{place}: {change}"

    def accounts_for(self, check: str) -> bool:
        """That check fails because of this."""
        return any(fnmatchcase(check, pattern) for pattern in self.explains)
