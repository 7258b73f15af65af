"""Records of a load: one for each service, judged by what its clients sent and got. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..report.client_load import ClientLoad, Delivery
from ..report.records import Record, Verdict
from .plan import LoadPlan
from .results import Carried, LoadResults

__all__ = ["SHARES", "Share", "load_seen", "records_of", "why_a_part"]

MOST_COMPLAINTS = 3
"""Sentences on failed steps, or names of missing messages, that a reason repeats; `load.json` has more."""


@dataclass(frozen=True)
class Share:
    """The part of a load that one service bears, as a check."""

    check: str
    requirements: tuple[str, ...]
    service: str
    """As steps name it."""
    unit: str
    """What clients send each other over it, in plural; the same word names its counts in `LoadResults`."""
    counted: str
    patience: float
    """Seconds for which clients may stand still, and nothing breaks by it."""
    may_lose: bool = False

    def carried(self, results: LoadResults) -> Carried:
        found = getattr(results, self.counted)
        assert isinstance(found, Carried)
        return found


SHARES = (
    Share("load.mail", ("MAIL-2",), "mail", "messages", "messages", patience=10.0),
    Share("load.turn", ("DISC-6",), "TURN", "packets of calls", "media", patience=2.0, may_lose=True),
    Share("load.iroh_relay", ("DISC-6",), "iroh relay", "frames of the iroh relay", "frames", patience=2.0),
)


def load_seen(results: LoadResults, plan: LoadPlan) -> ClientLoad:
    """The load as a whole."""
    return ClientLoad(
        results.users_wanted,
        results.users_reached,
        plan.spawn_rate,
        plan.run_time,
        results.seconds,
        results.workers,
        results.workers_lost,
        results.server.get("cpu_seconds"),
        results.server.get("megabytes"),
    )


def records_of(
    results: LoadResults, plan: LoadPlan, *, run: str, target: str, began: float, interrupted: str = ""
) -> Iterator[Record]:
    """A record for each service. `interrupted`: by whom, where somebody ended the load."""
    part = why_a_part(results, plan, interrupted)
    for share in SHARES:
        carried = share.carried(results)
        verdict, reason = _judged(share, results, part)
        notes = list(_notes(share, results, part))
        if results.stalled >= share.patience and verdict is Verdict.PASSED:
            notes.append(f"times are those of the clients as well: {_too_slow(results)}")
        yield Record(
            run,
            share.check,
            verdict,
            began,
            results.seconds,
            target,
            share.requirements,
            reason,
            notes=tuple(notes),
            observations=(*results.of(share.service), _delivery(share, carried)),
            door="dc-harness load",
        )


def why_a_part(results: LoadResults, plan: LoadPlan, interrupted: str = "") -> str:
    """Reason for which these results are a part of what was wanted; empty: they are whole."""
    if results.workers_lost:
        return f"{results.workers_lost} of {results.workers} workers ended too early"
    if not results.complete:
        by = f" ({interrupted})" if interrupted else ""
        return f"the load was cut short after {results.seconds:.0f} of {plan.run_time} s{by}"
    if not results.is_whole:
        return f"{results.users_reached} of {results.users_wanted} clients were there at the same time"
    return ""


def _judged(share: Share, results: LoadResults, part: str) -> tuple[Verdict, str]:
    if wrong := "; ".join(_wrong(share, results, part)):
        is_certain = results.stalled < share.patience or _is_certain(share, results, part)
        return (
            (Verdict.FAILED, wrong) if is_certain else (Verdict.UNDECIDED, f"{wrong}; {_too_slow(results)}")
        )
    if share.service not in results.offers and results.offers:
        return Verdict.UNSUPPORTED, f"METADATA gives clients no {share.service}"
    if part:
        return Verdict.UNDECIDED, f"this is a part: {part}"
    if share.carried(results).arrived:
        return Verdict.PASSED, ""
    if results.offers:
        return Verdict.UNDECIDED, f"no client came to send {share.unit}: more --users, or a longer --run-time"
    return Verdict.UNDECIDED, f"no client could log in, and so none sent {share.unit}"


def _is_certain(share: Share, results: LoadResults, part: str) -> bool:
    """Something is wrong that slow clients cannot explain."""
    is_lost = share.counted == "messages" and results.not_there and not part
    return bool(share.carried(results).doubled or is_lost)


def _too_slow(results: LoadResults) -> str:
    return (
        f"machine too slow: the clients' own processes stood still for {results.stalled:.1f} s, so that it may be "
        "their fault: fewer --users, more --workers, or more machines"
    )


def _wrong(share: Share, results: LoadResults, part: str) -> Iterator[str]:
    """Sentences on what the server did. In a part of a load, what is missing may be on its way."""
    carried, steps = share.carried(results), results.of(share.service)
    missing = carried.sent - carried.arrived
    if missing and not share.may_lose and not part:
        yield f"{missing} of {carried.sent} {share.unit} never arrived{_which(share, results)}"
    if carried.doubled:
        yield f"{carried.doubled} {share.unit} arrived more than once"
    if failed := sum(step.failures for step in steps):
        said = [each for each in results.complaints if each.service == share.service][:MOST_COMPLAINTS]
        words = "; ".join(f"{each.times} x {each.text}" for each in said)
        yield f"{failed} of {sum(step.count for step in steps)} steps failed{': ' if words else ''}{words}"


def _which(share: Share, results: LoadResults) -> str:
    """Which messages, and that they were looked for."""
    if share.counted != "messages" or not results.missing:
        return ""
    first = results.missing[:MOST_COMPLAINTS]
    named = [f"{each.message_id} ({each.submitted:.1f} s after the beginning)" for each in first]
    if len(results.missing) > len(first):
        named.append("others")
    looked = "nobody could look into their mailboxes"
    if results.not_there:
        looked = f"{results.not_there} of them were in no mailbox when their clients looked at the end"
    return f", although each was answered with 250: {', '.join(named)}; {looked}"


def _notes(share: Share, results: LoadResults, part: str) -> Iterator[str]:
    carried = share.carried(results)
    missing = carried.sent - carried.arrived
    if missing and share.may_lose:
        yield f"{missing} of {carried.sent} {share.unit} did not arrive: UDP may lose some, and nothing fails by it"
    elif missing and part:
        yield f"{missing} of {carried.sent} {share.unit} had not arrived when it ended"
    if share.counted == "messages" and results.untold:
        yield f"{results.untold} messages were in their mailboxes at the end, and IDLE had not told of them"


def _delivery(share: Share, carried: Carried) -> Delivery:
    return Delivery(
        share.unit, carried.sent, carried.arrived, carried.doubled, carried.bytes_sent, carried.bytes_arrived
    )
