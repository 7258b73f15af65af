"""What is said of a mutant before it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Kill", "Mutant", "Run"]

Run = Callable[[Sequence[str]], int]
"""Runs one service of the server, or the supervisor, with its usual arguments until a signal; returns the exit code."""


@dataclass(frozen=True)
class Kill:
    """The check that must fail, by its registered name, and words that its reason must contain."""

    check: str
    phrase: str
    needs: tuple[str, ...] = ()
    """Capabilities of the machine, without which the check runs and what is wrong is too small to be seen."""


@dataclass(frozen=True)
class Mutant:
    """A reference server with one wrong behaviour in one service, or in the supervisor of all."""

    name: str
    kind: Literal["settings", "wire", "strategy"]
    service: Literal["mail", "iroh_relay", "turn", "supervisor"]
    run: Run
    wrong: str
    killed_by: tuple[Kill, ...]
