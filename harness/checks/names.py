"""A TURN server that METADATA gives by its name (TURN-8): whether devices find it, and why not."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..calls.call import Media
from ..clients.device import Device
from ..evidence.egress import DirectTraffic
from ..network import profiles
from ..network.names import Failure, Refusal, Slow, Wrong
from ..report.observations import NameLookup
from ..servers.server import Wants
from ..stage import offers
from ..stage.check import check
from ..stage.lab import People
from ..stage.outcome import Outcome, PromiseBroken
from ..stage.services import STUN_PORT
from ..stage.stage import Stage
from ..steps.call_judges import judge_audio, judge_numbers
from ..steps.call_lab import LabCallers
from ..steps.calls import FAILURES, NEEDS, TURN_WORKS, ice_servers_of, talk
from ..steps.turn_host import TurnHostLookup

__all__ = [
    "ELSEWHERE",
    "EVERY_WAY",
    "NAME",
    "QUICK_WAYS",
    "core_finds_turn_by_its_name",
    "turn_host_leads_to_the_target",
]

progress = logging.getLogger("harness.progress")

SLOW = 1.0
"""Seconds that people notice: whoever calls waits as long."""
NAME = "turn.chat.example"
ELSEWHERE = "5.9.7.7"
"""Nobody has this address."""
EVERY_WAY: Mapping[str, Failure] = {
    "NXDOMAIN": Refusal.NXDOMAIN,
    "wrong-answer": Wrong((ELSEWHERE,)),
    "SERVFAIL": Refusal.SERVFAIL,
    "time-out": Refusal.SILENCE,
    "slow": Slow(2.0),
    "too-slow": Slow(7.0),
}
"""Ways in which a name lookup can fail."""
QUICK_WAYS = ("NXDOMAIN", "wrong-answer")


@check("DISC-5", "TURN-8", needs=("turn",))
def turn_host_leads_to_the_target(stage: Stage, outcome: Outcome) -> None:
    """The TURN server that METADATA names is an address of the target, or a name that leads there in time."""
    offer = offers.turn_in_metadata(stage.target, stage.host)
    found = TurnHostLookup.of(stage.target, offer, stage.host)
    outcome.observe(found.observation())
    if not found.is_needed:
        outcome.note("METADATA gives the TURN server's address: no name server is needed for it")
    if found.seconds > SLOW and not found.cause:
        outcome.note(f"{offer.host} is found after {found.seconds:.1f} s, and each first call waits as long")
    outcome.expect(not found.cause, found.cause)


@check("DISC-5", "TURN-8", needs=(*NEEDS, "lab"), after=TURN_WORKS)
def core_finds_turn_by_its_name(stage: Stage, outcome: Outcome, ways: Sequence[str] = QUICK_WAYS) -> None:
    """Cores find TURN by the name in METADATA and call through it; when the name fails they turn to nobody else."""
    with stage.lab(Wants(advertised_turn=f"{NAME}:{STUN_PORT}")) as lab:
        lab.network.names.set(NAME, lab.machine.address)
        offer = offers.turn_in_metadata(lab.target, lab.machine)
        if cause := TurnHostLookup.of(lab.target, offer, lab.machine).cause:
            raise PromiseBroken(cause)
        homes = dict.fromkeys(("alice", "bob", *ways), profiles.HOME)
        with lab.people(DirectTraffic.CONNECTIVITY_CHECKS, [NAME], **homes) as people:
            with outcome.expect_to_arrive(*FAILURES):
                _call_by_name(outcome, people)
            for way in ways:
                _fail(outcome, people, people[way])


def _call_by_name(outcome: Outcome, people: People) -> None:
    """While the name server is in order, and what is left of it when it is not any more."""
    alice, bob = people["alice"], people["bob"]
    assert people.offers.turn is not None, "the check needs `turn`"
    servers = ice_servers_of((alice, bob), people.offers.turn, people.lab)
    callers = LabCallers(people.lab, people.devices, servers, people)
    callers.befriend("alice", "bob")
    with callers.watched("call by name", Media(policy="relay"), "alice", "bob") as call:
        talked = talk(call)
        for side, report in talked.reports.items():
            judge_audio(outcome, side, report)
            judge_numbers(outcome, side, talked.stats[side])
    _expect_remembered(outcome, people, {url for each in servers["alice"] for url in each.urls})


def _expect_remembered(outcome: Outcome, people: People, urls: set[str]) -> None:
    """A core that has found the name once does without the name server."""
    names = people.lab.network.names
    names.fail(NAME, Refusal.NXDOMAIN)
    remembered, seconds = _ask_core(people["alice"])
    names.heal(NAME)
    outcome.observe(
        NameLookup(
            NAME, "found once, then NXDOMAIN", used=tuple(remembered), client_seconds=round(seconds, 2)
        )
    )
    outcome.expect(
        set(remembered) == urls,
        f"once {NAME} was found, core should do without the name server, it has {remembered or 'no TURN server'}",
    )


def _fail(outcome: Outcome, people: People, device: Device) -> None:
    """One way to fail, for a device of the same name whose core has never found the TURN server."""
    way, lab, offer = device.name, people.lab, people.offers.turn
    assert offer is not None, "the check needs `turn`"
    device.account.wait_for("ImapInboxIdle", "METADATA to be read, which is before IDLE", within=60)
    lab.network.names.fail(NAME, EVERY_WAY[way])
    try:
        urls, seconds = _ask_core(device)
        found = TurnHostLookup.of(lab.target, offer, device.host)
    finally:
        lab.network.names.heal(NAME)
    got = ", ".join(urls) or "no TURN server"
    sentence = f"{way}: core has {got} after {seconds:.1f} s; {found.cause or 'the name is found'}"
    outcome.note(sentence)
    progress.info("%s", sentence)
    outcome.observe(replace(found.observation(way), used=tuple(urls), client_seconds=round(seconds, 2)))
    known = {f"turn:{address}:{offer.port}" for address in (lab.machine.address, ELSEWHERE)}
    strange = sorted(set(urls) - known)
    outcome.expect(not strange, f"{way}: core would use {', '.join(strange)}, which METADATA does not name")


def _ask_core(device: Device) -> tuple[list[str], float]:
    """Ask core for the ICE servers of a call; with the seconds until it answered."""
    started = time.monotonic()
    servers = device.account.client.ice_servers()
    return [url for each in servers for url in each["urls"]], time.monotonic() - started
