"""Calls between networks of every kind: whether each takes the way that it can, and no other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ..calls.quality import MachineTooSlow
from ..calls.servers import transport_override
from ..evidence import expected
from ..evidence.expected import Expected
from ..evidence.verdicts import PathVerdict
from ..network import profiles
from ..network.pairs import Pair, every_pair
from ..report.matrix import words
from ..report.observations import MatrixCell
from ..report.records import Verdict
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.call_lab import CallAttempt, LabCallers, lab_callers, takes_path
from ..steps.calls import NEEDS, TURN_WORKS, Servers
from ..steps.pairs import expect_tried, places_of, reaching, side_by_side

__all__ = ["ESSENTIAL", "EVERY", "calls_take_the_expected_path", "one_leg_call_is_relayed"]

progress = logging.getLogger("harness.progress")

SECONDS = 1.0
"""Seconds for which each side talks; media are some 50 packets each way then."""
HEARD = 0.5
"""Part of it that must be heard: here it is proven that media take a way, and not how well."""
AT_ONCE = 3
"""Calls between different devices."""
ESSENTIAL = (
    Pair(profiles.UDP_BLOCKED, profiles.MOBILE),
    Pair(profiles.ONLY_443, profiles.SYMMETRIC),
    Pair(profiles.HOME, profiles.HOME),
    Pair(profiles.HOME, profiles.SYMMETRIC),
    Pair(profiles.SYMMETRIC, profiles.MOBILE),
)
"""One for each way that a call can take; those that take longest first."""
EVERY = every_pair([each for each in profiles.ALL if each.ipv4])
"""Without those that have only IPv6: a lab's server does not listen there."""
HTTPS_PORT = 443
ONE_LEG = Pair(profiles.HOME, profiles.SYMMETRIC)


@check("TURN-10", "E2E-path", needs=(*NEEDS, "lab"), after=TURN_WORKS)
def calls_take_the_expected_path(stage: Stage, outcome: Outcome, pairs: Sequence[Pair] = ESSENTIAL) -> None:
    """From network to network a call goes direct, or through TURN, or there is none, as RFC 4787 lets expect."""
    with stage.lab() as lab:
        if reached := reaching(lab, pairs):
            with lab_callers(lab, places_of(reached)) as callers:
                at_once = stage.session.choice.peers.at_once(AT_ONCE)
                for _pair, judged in side_by_side(reached, partial(_attempt, callers), at_once=at_once):
                    outcome.include(judged)
    expect_tried(outcome)


@check("TURN-6", "TURN-10", needs=(*NEEDS, "lab"), after=TURN_WORKS)
def one_leg_call_is_relayed(stage: Stage, outcome: Outcome) -> None:
    """One side uses an allocation, the other sends from a NAT to its relayed transport address: both are heard."""
    name = f"{ONE_LEG}, one leg"
    with stage.lab() as lab, lab_callers(lab, ONE_LEG.places) as callers:
        callers.befriend(*ONE_LEG.devices)
        attempt = callers.attempt(name, *ONE_LEG.devices, seconds=SECONDS, policy="relay")
        why = "the caller uses nothing but its relayed transport address"
        _judge(outcome, name, Expected(PathVerdict.RELAYED, why), attempt)
        outcome.expect(
            attempt.talked is None or attempt.legs == 1,
            f"{name}: {attempt.legs} sides use an allocation, where one is enough for both",
        )


def _attempt(callers: LabCallers, pair: Pair) -> Outcome:
    """Everything that is found of one pair. Where our own agents were too slow it is undecided."""
    here = callers.apart()
    outcome = here.outcome
    wanted = expected.of_call(pair.first, pair.second, moves=here.moves(*pair.devices))
    here.befriend(*pair.devices)
    try:
        attempt = here.attempt(f"{pair}", *pair.devices, seconds=SECONDS)
        _judge(outcome, f"{pair}", wanted, attempt)
        as_wanted = takes_path(attempt.path, wanted, attempt.in_the_end)
        moved = as_wanted and attempt.path.verdict is PathVerdict.MIXED
        if moved:
            where = "moved in one direction" if attempt.legs else "moved"
            outcome.note(f"{pair}: the call began through TURN, and {where}: {attempt.path.name}")
        elif as_wanted and attempt.path.verdict is not wanted.verdict:
            outcome.note(f"{pair}: the call began through TURN, and stayed there, as libwebrtc may")
        cell = MatrixCell(
            "call",
            pair.first.name,
            pair.second.name,
            wanted.verdict.value,
            (wanted if moved else attempt.path).verdict.value,
            wanted.why,
            attempt.legs,
        )
        if wanted.verdict is PathVerdict.NONE:
            outcome.note(f"no call: {wanted.why}")
            if attempt.path.verdict is PathVerdict.NONE:
                cell = replace(cell, over_tcp=_over_tcp(here, pair))
    except MachineTooSlow as error:
        return outcome.include(Outcome(Verdict.UNDECIDED, [f"{pair}: {error}"]))
    progress.info("%s: %s (%s)", pair, words(cell), wanted.why)
    return outcome.observe(cell)


def _judge(outcome: Outcome, name: str, wanted: Expected, attempt: CallAttempt) -> None:
    refused = f": {attempt.refused}" if attempt.refused else ""
    outcome.expect(
        takes_path(attempt.path, wanted, attempt.in_the_end),
        f"{name}: the call should be {wanted.verdict} ({wanted.why}), it is {attempt.path.sentence}{refused}",
    )
    outcome.expect(attempt.egress, f"{name}: a device went elsewhere: {attempt.egress}")
    if attempt.talked is not None:
        for side, report in attempt.talked.reports.items():
            heard = report.audio.seconds * report.audio.known if report.audio else 0.0
            outcome.expect(
                heard >= HEARD * SECONDS, f"{name}: {side} heard the other for {heard:.2f} of {SECONDS:g} s"
            )


def _over_tcp(callers: LabCallers, pair: Pair) -> str | None:
    """The path of the same call if Delta Chat used TURN over TCP, and over TLS where nothing but port 443 passes.

    None where the call would need a transport that the server does not have.
    """
    if (servers := _servers_over_tcp(callers, pair)) is None:
        return None
    name = f"{pair} over TCP"
    attempt = callers.attempt(name, *pair.devices, seconds=SECONDS, servers=servers)
    wanted = Expected(PathVerdict.RELAYED, "TURN over TCP is what the server could do")
    _judge(callers.outcome, name, wanted, attempt)
    return attempt.path.verdict.value


def _servers_over_tcp(callers: LabCallers, pair: Pair) -> Servers | None:
    changed = {}
    turns = callers.people.offers.turns
    has_tcp = any(url.transport == "tcp" for url in callers.people.lab.target.turn)
    for name, network in pair.places.items():
        servers = callers.servers[name]
        if network.only_443:
            if turns is None or turns.port != HTTPS_PORT:
                return None
            changed[name] = transport_override(servers, "tls", turns.port, host=turns.host)
        elif network.ipv4 is None or network.ipv4.mapping is None:
            if not has_tcp:
                return None
            changed[name] = transport_override(servers, "tcp")
        else:
            changed[name] = tuple(servers)
    return changed
