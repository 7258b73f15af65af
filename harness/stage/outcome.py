"""An outcome: everything that a check finds, while it finds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..report.observations import Observation
from ..report.records import Verdict
from ..text import clean
from ..waiting import WaitTimeout
from .causes import cause_of

__all__ = ["OursToMend", "Outcome", "PromiseBroken", "promised"]

WORSE = (
    Verdict.PASSED,
    Verdict.SKIPPED,
    Verdict.NOT_REACHED,
    Verdict.UNSUPPORTED,
    Verdict.FAILED,
    Verdict.UNDECIDED,
)
"""Of two verdicts about parts of one check the later one in this order is that of the whole."""


class PromiseBroken(Exception):
    """Ends a check with verdict `failed`: without this promise, nothing that follows can be tried."""

    def __init__(self, sentence: str, *, cause: str = "") -> None:
        """`cause`: a name of `harness.causes`, where that is known."""
        self.cause = cause
        super().__init__(sentence)


class OursToMend(Exception):
    """Ends a check with verdict `undecided`: something about this machine is wrong, and the text says what."""


@contextmanager
def promised(*failures: type[Exception], what: str = "", cause: str = "") -> Iterator[None]:
    """As `Outcome.expect_to_arrive`, where nothing can be tried without it: raises `PromiseBroken` with these words."""
    expected: tuple[type[Exception], ...] = (WaitTimeout, *failures)
    try:
        yield
    except expected as error:
        sentence = f"{what}: {error}" if what else str(error)
        raise PromiseBroken(sentence, cause=cause or cause_of(error)) from error


@dataclass
class Outcome:
    """Collects expectations, observations and notes. It is true when the check passed."""

    verdict: Verdict = Verdict.PASSED
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    clients: dict[str, str] = field(default_factory=dict)
    """Name of a device -> its program with version and mode."""
    profiles: dict[str, str] = field(default_factory=dict)
    """Name of a device -> kind of its network."""
    seed: int | None = None
    """Number from which whatever is random follows; None: nothing is."""
    because_of: str = ""
    """Check whose failure explains that this one was not reached."""
    cause: str = ""
    """Name of what is wrong with the deployment (`harness.causes`); empty: not known. The first that was found."""
    evidence: list[Path] = field(default_factory=list)
    """Finished files that back what was found."""

    def __post_init__(self) -> None:
        self.reasons = [clean(each) for each in self.reasons]

    def expect(self, condition: object, sentence: str, *, cause: str = "") -> Outcome:
        """If the condition does not hold, the target failed, and `sentence` says how; `cause`: why, if known."""
        if not condition:
            self.verdict = Verdict.FAILED
            self.reasons.append(clean(sentence))
            self.cause = self.cause or cause
        return self

    @contextmanager
    def expect_to_arrive(self, *failures: type[Exception], what: str = "", cause: str = "") -> Iterator[None]:
        """A wait that ends by its deadline inside this block is a failure of the target, with the wait's own words.

        `failures` are further exceptions that mean the same: a refused connection, a protocol error. `what`
        says what the block was about, where the words of a wait alone would not tell an operator.
        """
        expected: tuple[type[Exception], ...] = (WaitTimeout, *failures)
        try:
            yield
        except expected as error:
            self.expect(False, f"{what}: {error}" if what else str(error), cause=cause or cause_of(error))

    def note(self, text: str) -> Outcome:
        """Add a sentence that a reader must know to weigh the verdict; once is enough."""
        if (sentence := clean(text)) not in self.notes:
            self.notes.append(sentence)
        return self

    def observe(self, observation: Observation) -> Outcome:
        """Keep something that was seen or measured. A newer word about one thing takes the place of the older."""
        about = observation.about
        for number, each in enumerate(self.observations):
            if about is not None and each.about == about:
                self.observations[number] = observation
                return self
        self.observations.append(observation)
        return self

    def include(self, other: Outcome) -> Outcome:
        """Take over everything that another outcome found; the worse verdict stays."""
        if not other:
            self.verdict = max(self.verdict, other.verdict, key=WORSE.index)
        self.reasons += other.reasons
        self.cause = self.cause or other.cause
        for note in other.notes:
            self.note(note)
        for each in other.observations:
            self.observe(each)
        self.clients.update(other.clients)
        self.profiles.update(other.profiles)
        self.seed = other.seed if self.seed is None else self.seed
        self.evidence += other.evidence
        return self

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASSED

    def __repr__(self) -> str:
        return f"<{self.verdict}{': ' if self.reasons else ''}{self.reason}>"
