"""From a look to causes: a pure function. Root causes first; what one of them explains is not reported again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..causes.cause import Weight
from ..report.looks import Look
from .mail import judge_delivery, judge_ground, judge_session
from .part import NamedCause, Part, Step
from .relay import judge_relay, judge_swarm
from .turn import judge_call, judge_turn, judge_turns

__all__ = ["Diagnosis", "diagnose"]

ORDER = {Weight.SICK: 0, Weight.RISK: 1, Weight.NOTE: 2}


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a server, why that is sure, and what could not be told."""

    look: Look
    steps: tuple[Step, ...]
    causes: tuple[NamedCause, ...]
    """The worst first."""
    excluded: tuple[str, ...]
    """Names of causes that were looked for, and are not there."""
    unknown: tuple[str, ...]
    """Sentences on what had to be told and could not."""

    def of_weight(self, weight: Weight) -> list[NamedCause]:
        """Those that matter so much."""
        return [each for each in self.causes if each.weight is weight]

    @property
    def is_sick(self) -> bool:
        return bool(self.of_weight(Weight.SICK))

    @property
    def is_healthy(self) -> bool:
        """Nothing is wrong, and all that had to be told was."""
        return not self.is_sick and not self.unknown


def diagnose(look: Look, must: Collection[str] = ()) -> Diagnosis:
    """Judge a look. `must`: services whose absence is no note (`turn`, `turns`, `iroh_relay`)."""
    part = Part()
    part.include(judge_ground(look))
    part.include(judge_session(look, must))
    part.include(judge_delivery(look.mail))
    part.include(judge_relay(look))
    part.include(judge_turn(look))
    part.include(judge_turns(look, must))
    part.include(judge_call(look.call))
    part.include(judge_swarm(look.swarm))
    for name in look.too_slow:
        part.cannot_tell(name, f"that did not come to an end in time ({look.seconds:.0f} s)")
    for name in look.cut_short:
        part.cannot_tell(name, "that takes more packets than a look may send")
    if look.mail is None and not part.causes and not part.unknown:
        part.cannot_tell("log-in", "it was not tried")
    for sentence in look.not_looked_at:
        part.unseen("left out", sentence)
    _without_repetition(part)
    causes = sorted(part.causes, key=lambda each: ORDER[each.weight])
    named = {each.cause.name for each in causes} | {rival.name for each in causes for rival in each.rivals}
    excluded = tuple(each for each in dict.fromkeys(part.excluded) if each not in named)
    return Diagnosis(look, tuple(part.steps), tuple(causes), excluded, tuple(part.unknown))


def _without_repetition(part: Part) -> None:
    """A cause that was found in two places is told once, by what was seen first."""
    first: dict[str, NamedCause] = {}
    for each in part.causes:
        first.setdefault(each.cause.name, each)
    part.causes[:] = first.values()
