"""Results of a matrix by cell: states, shares of several tries, blame, controls, and the decision.

A cell is failed only if its scenario passes with a reference on the side that is blamed: with the same clients on the
reference server, or with the reference client on the same server. Where neither passes, nobody knows whose failure it
is. Pure functions of records.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from .cells import CellOf, ExpectedRed, MatrixPlan, Part
from .intervals import wilson
from .observations import CallSeen, SwarmSeen
from .plan import checks
from .records import Record, Verdict

__all__ = ["Blame", "Decision", "Interop", "Place", "State", "interop", "plans", "references"]


class State(enum.StrEnum):
    """State of a cell, after all tries."""

    FAILED = "failed"
    UNBLAMED = "fails with the reference too"
    """Nobody knows whose failure it is: neither side can be blamed by the rule."""
    KNOWN_RED = "known red"
    """Failed, and somebody answers for it until a day that has not passed."""
    UNDECIDED = "undecided"
    NOT_RUN = "not run"
    SKIPPED = "skipped"
    NOT_REACHED = "not reached"
    UNSUPPORTED = "unsupported"
    PASSED = "passed"


TELLING = (
    State.FAILED,
    State.UNBLAMED,
    State.KNOWN_RED,
    State.UNDECIDED,
    State.SKIPPED,
    State.NOT_REACHED,
    State.NOT_RUN,
)
"""States that need a reason. What is unsupported is no news."""


class Blame(enum.StrEnum):
    """Side of a failed cell whose failure it is."""

    SERVER = "the server"
    CLIENTS = "the clients"
    COMBINATION = "these together"
    """Both sides pass with the other's reference."""
    NOBODY = "unknown"


class Decision(enum.StrEnum):
    """The first word of a matrix."""

    OK = "OK"
    NOT_OK = "NOT OK"
    NO_VERDICT = "NO VERDICT"


@dataclass(frozen=True)
class Place:
    """One cell, with every try of it."""

    cell: CellOf
    records: tuple[Record, ...]
    state: State
    blame: Blame | None = None
    """None: it did not fail."""
    why: str = ""
    """Reason of the first try that did not pass, and what the blame rests on."""
    known: ExpectedRed | None = None

    @property
    def judged(self) -> int:
        return sum(each.verdict in (Verdict.PASSED, Verdict.FAILED) for each in self.records)

    @property
    def passed(self) -> int:
        return sum(each.verdict is Verdict.PASSED for each in self.records)

    @property
    def share(self) -> str:
        """For example `18 of 20 (70-97 %)`, with 95 % confidence; empty for a single try."""
        if len(self.records) == 1:
            return ""
        low, high = wilson(self.passed, self.judged)
        return f"{self.passed} of {self.judged} ({100 * low:.0f}-{100 * high:.0f} %)"

    @property
    def number(self) -> str:
        """The time that users feel, of the tries that passed: until a call is heard, until a message arrives."""
        found = [number for each in self.records if each.verdict is Verdict.PASSED for number in _felt(each)]
        return f"{sorted(found)[len(found) // 2]:.0f} ms" if found else ""

    @property
    def href(self) -> str:
        """Page of its run, below the directory of the matrix or of a shard; empty: there is none."""
        if not _has_run(self.records):
            return ""
        files = (each.path for record in self.records for each in record.evidence)
        above, found, _ = next(files, "").partition(f"{self.cell.directory}/")
        return f"{above if found else ''}{self.cell.directory}/report.html"


@dataclass(frozen=True)
class Interop:
    """A matrix, read whole."""

    plan: MatrixPlan
    places: tuple[Place, ...]
    """The cells of the matrix itself."""
    controls: tuple[Place, ...]
    """Of both kinds; each state is `passed` if the control is as it must be."""
    decision: Decision
    sentence: str
    healed: tuple[ExpectedRed, ...] = ()
    """Known reds that are red nowhere: they can be taken off the list."""
    missing_shards: tuple[int, ...] = ()

    @property
    def reasons(self) -> dict[State, dict[str, list[Place]]]:
        """Reasons of cells that did not pass, by state, each once with its cells; what matters most comes first."""
        found: dict[State, dict[str, list[Place]]] = {}
        for state in TELLING:
            for each in self.places:
                if each.state is state:
                    found.setdefault(state, {}).setdefault(each.why, []).append(each)
        return found

    def count(self, state: State) -> int:
        return sum(each.state is state for each in self.places)


def plans(records: Sequence[Record]) -> list[MatrixPlan]:
    """Plans in the heads of runs, one for each shard."""
    return [each for record in records if record.is_head for each in record.seen(MatrixPlan)]


def references(cell: CellOf, plan: MatrixPlan) -> Iterator[CellOf]:
    """Cells that say whose failure it is: the same with the reference server, and with the reference client."""
    if cell.server != plan.reference_server:
        yield replace(cell, server=plan.reference_server)
    if cell.core_a and (cell.core_a, cell.core_b) != (plan.reference_client, plan.reference_client):
        yield replace(cell, core_a=plan.reference_client, core_b=plan.reference_client)


def interop(records: Sequence[Record], *, only: frozenset[str] | None = None) -> Interop | None:
    """The matrix that these records are, of one run or of several shards; None: they are none.

    `only`: names of the cells that count, such as those of one shard.
    """
    found = plans(records)
    if not found:
        return None
    plan = found[0]
    tries: dict[tuple[str, ...], list[tuple[CellOf, Record]]] = {}
    for record in checks(records):
        for cell in record.seen(CellOf):
            if only is not None and cell.part is not Part.BLAME and cell.name not in only:
                continue
            tries.setdefault(cell.place, []).append((cell, record))
    verdicts = {_axes(each[0][0]): _together(record for _, record in each) for each in tries.values()}
    today = _day(records)
    places = [
        _place(each, plan, verdicts, today) for each in tries.values() if each[0][0].part is Part.MATRIX
    ]
    controls = [_control(each) for each in tries.values() if each[0][0].part in (Part.MADE_UP, Part.MUTANT)]
    decision, sentence = _decide(places, controls, plan)
    covered = [known for known in plan.expected_reds if any(known.covers(each.cell) for each in places)]
    return Interop(
        plan,
        tuple(places),
        tuple(controls),
        decision,
        sentence,
        tuple(known for known in covered if not any(each.known is known for each in places)),
        tuple(sorted({*range(1, plan.shard.of + 1)} - {each.shard.number for each in found})),
    )


def _axes(cell: CellOf) -> tuple[str, ...]:
    """Where a cell is, whatever it was tried for."""
    return (cell.server, cell.scenario, cell.core_a, cell.core_b, cell.peer, cell.networks)


def _together(records: Iterable[Record]) -> State:
    """Of several tries: one that failed is a failure, whatever the others did."""
    verdicts = {each.verdict for each in records}
    order = (
        (Verdict.FAILED, State.FAILED),
        (Verdict.PASSED, State.PASSED),
        (Verdict.UNDECIDED, State.UNDECIDED),
        (Verdict.NOT_RUN, State.NOT_RUN),
        (Verdict.NOT_REACHED, State.NOT_REACHED),
        (Verdict.SKIPPED, State.SKIPPED),
        (Verdict.UNSUPPORTED, State.UNSUPPORTED),
    )
    if Verdict.FAILED not in verdicts and Verdict.UNDECIDED in verdicts:
        return State.UNDECIDED
    return next(state for verdict, state in order if verdict in verdicts)


def _place(
    tries: Sequence[tuple[CellOf, Record]],
    plan: MatrixPlan,
    verdicts: dict[tuple[str, ...], State],
    today: str,
) -> Place:
    cell, records = tries[0][0], tuple(record for _, record in tries)
    state = _together(records)
    reason = next((each.reason for each in records if each.verdict is not Verdict.PASSED), "")
    if state is not State.FAILED:
        return Place(cell, records, state, why=reason)
    reason = next(each.reason for each in records if each.verdict is Verdict.FAILED)
    blame, why = _blame(cell, plan, verdicts, ran=_has_run(records))
    known = next((each for each in plan.expected_reds if each.covers(cell)), None)
    if known is not None:
        passed = today > known.expires
        why += f"; {known.owner} {'answered' if passed else 'answers'} for it until {known.expires}"
        if not passed:
            return Place(cell, records, State.KNOWN_RED, blame, f"{reason} ({why})", known)
    state = State.UNBLAMED if blame is Blame.NOBODY else State.FAILED
    return Place(cell, records, state, blame, f"{reason} ({why})", known)


def _blame(
    cell: CellOf, plan: MatrixPlan, verdicts: dict[tuple[str, ...], State], *, ran: bool
) -> tuple[Blame, str]:
    if not ran:
        return Blame.SERVER, "the server does not start"
    found = {
        ("server" if each.server != cell.server else "clients"): verdicts.get(_axes(each), State.NOT_RUN)
        for each in references(cell, plan)
    }
    server, clients = found.get("server"), found.get("clients")
    on_reference = f"on {plan.reference_server}"
    with_reference = f"with {plan.reference_client} on both sides"
    if server is State.PASSED and clients is State.PASSED:
        return Blame.COMBINATION, f"passes {on_reference}, and {with_reference}"
    if server is State.PASSED:
        return Blame.SERVER, f"the same clients pass {on_reference}" + _and_too(
            clients, "fails with every client"
        )
    if clients is State.PASSED:
        return Blame.CLIENTS, f"passes {with_reference}" + _and_too(server, "fails on every server")
    said = {"server": f"{server} {on_reference}", "clients": f"{clients} {with_reference}"}
    words = [said[side] for side in ("server", "clients") if side in found]
    return Blame.NOBODY, "nobody is to blame by the rule: " + (
        ", ".join(words) or "these are the references themselves"
    )


def _and_too(state: State | None, words: str) -> str:
    """The other side fails with the reference, too."""
    return f", {words}" if state is State.FAILED else ""


def _control(tries: Sequence[tuple[CellOf, Record]]) -> Place:
    """A control in several shards must be right in each of them."""
    cell, records = tries[0][0], tuple(record for _, record in tries)
    wrong = [each for each in records if each.verdict is not Verdict.PASSED]
    return Place(cell, records, _together(records), why=wrong[0].reason if wrong else "")


def _decide(places: Sequence[Place], controls: Sequence[Place], plan: MatrixPlan) -> tuple[Decision, str]:
    counts = {state: sum(each.state is state for each in places) for state in State}
    wrong = [each for each in controls if each.state is State.FAILED]
    open_controls = [each for each in controls if each.state not in (State.FAILED, State.PASSED)]
    words = [f"{counts[State.PASSED]} of {len(places)} cells passed"]
    words += [f"{counts[state]} {state}" for state in State if counts[state] and state is not State.PASSED]
    if wrong:
        are = "control is" if len(wrong) == 1 else "controls are"
        words.append(f"{len(wrong)} {are} wrong, so no other result can be believed")
    if open_controls:
        plural = "" if len(open_controls) == 1 else "s"
        words.append(f"{len(open_controls)} control{plural} could not be judged")
    sentence = ", ".join(words)
    if counts[State.FAILED] or wrong:
        return Decision.NOT_OK, sentence
    unclear = (State.UNBLAMED, State.UNDECIDED, State.NOT_RUN, State.NOT_REACHED)
    must = [each for each in places if each.cell.scenario in plan.must]
    missing = [each for each in must if each.state not in (State.PASSED, State.KNOWN_RED)]
    if missing:
        sentence += f"; of those that must pass, {len(missing)} of {len(must)} were not shown to"
    if missing or open_controls or any(counts[state] for state in unclear) or not counts[State.PASSED]:
        return Decision.NO_VERDICT, sentence
    return Decision.OK, sentence


def _felt(record: Record) -> Iterator[float]:
    for call in record.seen(CallSeen):
        if call.phases.first_audio_ms is not None:
            yield call.phases.first_audio_ms
    for swarm in record.seen(SwarmSeen):
        if swarm.latency_median_ms is not None:
            yield swarm.latency_median_ms


def _has_run(records: Iterable[Record]) -> bool:
    """Something of it was started, and left files."""
    return any(each.evidence or each.duration for each in records)


def _day(records: Sequence[Record]) -> str:
    last = max((each.time + each.duration for each in records), default=0.0)
    return datetime.datetime.fromtimestamp(last, datetime.UTC).date().isoformat()
