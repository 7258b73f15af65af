"""Calls between networks of every kind: whether each takes the way that it can, and no other."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

from ..calls.expected import Expected, expected_path
from ..calls.servers import transport_override
from ..clients.core.core import befriend
from ..evidence.paths import Path, Verdict
from ..network import profiles
from ..network.profiles import Profile
from ..report.call_matrix import MATRIX, MatrixCell, render_matrix
from ..stage.lab import LabFactory
from ..steps.call_lab import Callers, Seen, Servers, callers, try_call
from ..steps.calls import need_agents
from ..steps.outcome import Outcome, check, current_outcome
from ..target import Target

__all__ = ["ESSENTIAL", "EVERY", "Cell", "calls_take_the_expected_path", "every_cell"]

progress = logging.getLogger("harness.progress")

SECONDS = 1.0
"""How long each side talks; media are some 50 packets each way then."""
HEARD = 0.5
"""Part of it that must be heard: here it is proven that media take a way, and not how well."""
AT_ONCE = 3
"""Calls between different devices."""
TURN = "turn"


@dataclass(frozen=True)
class Cell:
    """Who calls whom."""

    caller: Profile
    callee: Profile

    @property
    def names(self) -> tuple[str, str]:
        """Of the two devices; of each network there are up to two, one that calls and one that is called."""
        return f"{self.caller.name}, calling", f"{self.callee.name}, called"

    def __str__(self) -> str:
        return f"{self.caller.name} to {self.callee.name}"


ESSENTIAL = (
    Cell(profiles.UDP_BLOCKED, profiles.MOBILE),
    Cell(profiles.ONLY_443, profiles.SYMMETRIC),
    Cell(profiles.HOME, profiles.HOME),
    Cell(profiles.HOME, profiles.SYMMETRIC),
    Cell(profiles.SYMMETRIC, profiles.MOBILE),
)
"""One for each way that a call can take; those that take longest first."""


def every_cell(kinds: Sequence[Profile]) -> tuple[Cell, ...]:
    """All pairs. Of two, the one that has less freedom calls: its agent is asked first for what it does not get."""
    pairs = itertools.combinations_with_replacement(reversed(kinds), 2)
    return tuple(itertools.starmap(Cell, pairs))


EVERY = every_cell([each for each in profiles.ALL if each.ipv4])
"""Without those that have only IPv6: a lab's server does not listen there."""


@check("TURN-10", "E2E-path", needs=("iroh_relay", "turn", "lab"))
def calls_take_the_expected_path(
    target: Target, labs: LabFactory, cells: Sequence[Cell] = ESSENTIAL
) -> Outcome:
    """From network to network a call goes direct, or through TURN, or there is none, as RFC 4787 lets expect."""
    del target  # a lab has a server of the same kind
    need_agents()
    outcome = current_outcome()
    places = {name: network for cell in cells for name, network in _places(cell)}
    with labs() as session, callers(session, places) as here:
        for device in here.devices.values():
            outcome.clients[device.name] = device.description
        found: list[tuple[Outcome, MatrixCell]] = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for each in _rounds(cells):
                found += pool.map(lambda cell: _try_cell(here, cell), each)
        outcome.evidence += [file for device in here.devices.values() for file in device.log_files]
    for judged, _cell in found:
        outcome.include(judged)
    matrix = [cell for _judged, cell in found]
    for why in dict.fromkeys(cell.why for cell in matrix if cell.expected == "none"):
        outcome.note(f"no call: {why}")
    outcome.measurements[MATRIX] = [asdict(cell) for cell in matrix]
    progress.info("%s", render_matrix(matrix))
    return outcome


def _places(cell: Cell) -> Sequence[tuple[str, Profile]]:
    return list(zip(cell.names, (cell.caller, cell.callee), strict=True))


def _rounds(cells: Sequence[Cell]) -> list[list[Cell]]:
    """In each, nobody takes part twice: whoever counts at an edge counts one call."""
    rounds: list[list[Cell]] = []
    for cell in cells:
        for each in rounds:
            busy = {name for other in each for name in other.names}
            if len(each) < AT_ONCE and busy.isdisjoint(cell.names):
                each.append(cell)
                break
        else:
            rounds.append([cell])
    return rounds


def _try_cell(here: Callers, cell: Cell) -> tuple[Outcome, MatrixCell]:
    """What is wrong with one cell, and what the matrix shows of it."""
    outcome = Outcome()
    expected = expected_path(cell.caller, cell.callee)
    caller, callee = cell.names
    befriend(here.devices[caller].account, here.devices[callee].account)
    seen = try_call(here, caller, callee, seconds=SECONDS)
    _judge(outcome, f"{cell}", expected, seen)
    shown = MatrixCell(
        cell.caller.name, cell.callee.name, expected.path, seen.path.name, expected.why, legs=_legs(seen)
    )
    if expected.path == "none" and seen.path.verdict is Verdict.NONE:
        shown = replace(shown, override=_override(outcome, here, cell))
    progress.info("%s", shown)
    return outcome, shown


def _judge(outcome: Outcome, name: str, expected: Expected, seen: Seen) -> None:
    outcome.evidence += seen.files
    outcome.paths[f"media, {name}"] = seen.path.name
    refused = f": {seen.refused}" if seen.refused else ""
    outcome.expect(
        _is(seen.path, expected),
        f"{name}: the call should be {expected.path} ({expected.why}), it is {seen.path.sentence}{refused}",
    )
    outcome.expect(seen.egress, f"{name}: a device went elsewhere: {seen.egress}")
    if seen.talked is not None:
        for side, report in seen.talked.reports.items():
            heard = report.audio.seconds * report.audio.known if report.audio else 0.0
            outcome.expect(
                heard >= HEARD * SECONDS, f"{name}: {side} heard the other for {heard:.2f} of {SECONDS:g} s"
            )


def _is(path: Path, expected: Expected) -> bool:
    if expected.path == "relayed":
        return path.is_relayed_by(TURN) and path.delivered_directly == 0
    return path.verdict is Verdict(expected.path)


def _legs(seen: Seen) -> int:
    """Sides that have a TURN allocation in use; the other one, if any, sends to a relayed port and not to 3478."""
    if seen.talked is None:
        return 0
    return sum(each.pair is not None and each.pair.local == "relay" for each in seen.talked.stats.values())


def _override(outcome: Outcome, here: Callers, cell: Cell) -> str:
    """The path of the same call if Delta Chat used TURN over TCP, and over TLS where nothing but port 443 passes."""
    name = f"{cell} over TCP"
    seen = try_call(here, *cell.names, seconds=SECONDS, servers=_over_tcp(here, cell))
    _judge(outcome, name, Expected("relayed", "TURN over TCP is what the server could do"), seen)
    return seen.path.name


def _over_tcp(here: Callers, cell: Cell) -> Servers:
    changed = {}
    for name, network in _places(cell):
        servers = here.servers[name]
        if network.only_443:
            host, port = here.turns
            changed[name] = transport_override(servers, "tls", port, host=host)
        elif network.ipv4 is None or network.ipv4.mapping is None:
            changed[name] = transport_override(servers, "tcp")
        else:
            changed[name] = tuple(servers)
    return changed
