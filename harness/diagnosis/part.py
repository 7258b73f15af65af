"""Parts of a diagnosis: steps for people, causes with their evidence, and what was excluded or stays unknown."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

from ..causes.catalogue import CATALOGUE
from ..causes.cause import Cause, Weight

__all__ = ["NamedCause", "Part", "State", "Step"]


class State(enum.StrEnum):
    """How a step ended, as it stands at the beginning of its line."""

    OK = "ok"
    NOTE = "note"
    RISK = "RISK"
    SICK = "SICK"
    UNKNOWN = "?"
    """It could not be told."""
    UNSEEN = "-"
    """It was not looked at, or cannot be seen from here, and nothing follows from that."""


STATES = {Weight.SICK: State.SICK, Weight.RISK: State.RISK, Weight.NOTE: State.NOTE}


@dataclass(frozen=True)
class Step:
    """A line for people."""

    state: State
    title: str
    text: str


@dataclass(frozen=True)
class NamedCause:
    """A cause that was found at one server."""

    cause: Cause
    evidence: tuple[str, ...]
    """Sentences on what was measured, from which it follows."""
    weight: Weight
    rivals: tuple[Cause, ...] = ()
    """Causes that would look the same from here."""
    tell_apart: str = ""
    """A way to tell them from this one."""


@dataclass
class Part:
    """Collects what follows from one part of a look."""

    steps: list[Step] = field(default_factory=list)
    causes: list[NamedCause] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    """Names of causes that were looked for and are not there."""
    unknown: list[str] = field(default_factory=list)
    """Sentences on what had to be told and could not."""

    def step(self, state: State, title: str, text: str) -> None:
        self.steps.append(Step(state, title, text))

    def ok(self, title: str, text: str) -> None:
        self.step(State.OK, title, text)

    def found(
        self,
        name: str,
        title: str,
        text: str,
        *evidence: str,
        weight: Weight | None = None,
        rivals: tuple[str, ...] = (),
        tell_apart: str = "",
    ) -> None:
        """Name a cause, with the line that shows it."""
        cause = CATALOGUE[name]
        weight = weight or cause.weight
        others = tuple(CATALOGUE[each] for each in rivals)
        self.causes.append(NamedCause(cause, evidence, weight, others, tell_apart))
        self.step(STATES[weight], title, text)

    def cannot_tell(self, title: str, text: str) -> None:
        self.step(State.UNKNOWN, title, text)
        self.unknown.append(f"{title}: {text}")

    def unseen(self, title: str, text: str) -> None:
        self.step(State.UNSEEN, title, text)

    def exclude(self, *names: str) -> None:
        self.excluded += names

    def of_weight(self, weight: Weight) -> Part:
        """The same, whose causes all matter so much; what it excludes stays open."""
        state = STATES[weight]
        steps = [replace(each, state=state) if each.state in STATES.values() else each for each in self.steps]
        return Part(steps, [replace(each, weight=weight) for each in self.causes], [], self.unknown)

    def include(self, other: Part) -> None:
        self.steps += other.steps
        self.causes += other.causes
        self.excluded += other.excluded
        self.unknown += other.unknown
