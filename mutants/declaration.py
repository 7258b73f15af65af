"""Declaration of a mutant, directly above its behaviour; it is found by its name.

    @mutant("turn", "credentials are good for ever", kills={"turn.turn_credentials_expire": "grants a new allocation"})
    def turn_expired_accepted(settings: TurnSettings) -> TurnService: ...

The declaration comes before the run. A kill counts only if the named check ends with verdict `failed` and its reason
contains the phrase; errors, crashes and unexplained time-outs are no kills.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

__all__ = ["Mutant", "all_mutants", "find", "mutant"]

ROOMS = (
    "mail",
    "accounts",
    "submissions",
    "operators",
    "federation",
    "relay",
    "turn",
    "ledgers",
    "addresses",
    "supervisor",
)
Behaviour = TypeVar("Behaviour", bound=Callable[..., Any])
Mutated = Literal["mail", "iroh_relay", "turn", "supervisor"]

_declared: dict[str, Mutant] = {}


@dataclass(frozen=True)
class Mutant:
    """A reference server with one wrong behaviour in one service, or in the supervisor of all."""

    name: str
    service: Mutated
    wrong: str
    kills: Mapping[str, str]
    """The checks that must fail, by their registered names, and words that the reason of each must contain."""
    make: Callable[..., Any]
    """Makes the wrong service of its settings, or takes the place of `Supervisor`."""


def mutant(service: Mutated, wrong: str, *, kills: Mapping[str, str]) -> Callable[[Behaviour], Behaviour]:
    """Declare the function as a mutant of its name: what is wrong about it, and which checks must say so."""

    def declare(make: Behaviour) -> Behaviour:
        _declared[make.__name__] = Mutant(make.__name__, service, wrong, kills, make)
        return make

    return declare


def find(name: str) -> Mutant | None:
    """The mutant of this name. Loads the one module whose text defines it, and no other."""
    definition = re.compile(rf"^def {re.escape(name)}\(", re.MULTILINE)
    for room in ROOMS:
        if definition.search(Path(__file__).with_name(f"{room}.py").read_text()):
            importlib.import_module(f".{room}", __package__)
    return _declared.get(name)


def all_mutants() -> Mapping[str, Mutant]:
    """Every mutant by its name."""
    for room in ROOMS:
        importlib.import_module(f".{room}", __package__)
    return _declared
