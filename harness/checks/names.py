"""A TURN server that METADATA gives by its name (TURN-8): whether devices find it, and why not."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from ..calls.servers import TurnOffer
from ..clients.device import Device
from ..evidence import egress
from ..evidence.edges import Edges
from ..evidence.egress import Toward
from ..evidence.parties import Device as Resident
from ..evidence.parties import Parties, Site
from ..hosts import Host
from ..network import profiles
from ..network.lab import NAME_SERVERS, LabHost
from ..network.names import Failure, Refusal, Slow, Wrong
from ..stage.lab import STUN_PORT, LabFactory, LabSession
from ..steps.calls import Friends, judge_relayed_call, need_agents, with_friends
from ..steps.outcome import Outcome, PromiseBroken, check, current_outcome
from ..target import Target
from .discovery import stated_turn

__all__ = [
    "EVERY_WAY",
    "NAME",
    "QUICK_WAYS",
    "Search",
    "core_finds_turn_by_its_name",
    "search",
    "turn_host_leads_to_the_target",
]

progress = logging.getLogger("harness.progress")

CORE_WAITS = 5.0
"""Seconds after which core gives up on a name (measured: docs/network-lab.md)."""
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
"""How asking for a name can fail."""
QUICK_WAYS = ("NXDOMAIN", "wrong-answer")
DNS_PORT = 53


@dataclass(frozen=True)
class Search:
    """How a device fares that looks for the TURN server of METADATA."""

    addresses: tuple[str, ...]
    seconds: float
    cause: str
    """Why calls will not find the target's TURN server, for its operator; empty if they will."""


def search(target: Target, offer: TurnOffer, host: Host) -> Search:
    """Look for the offered host as a device on `host` does. It may take 10 s."""
    started = time.monotonic()
    try:
        addresses = host.resolve(offer.host)
    except socket.gaierror as error:
        return Search((), time.monotonic() - started, _not_found(offer.host, error))
    seconds = time.monotonic() - started
    return Search(addresses, seconds, _no_help(target, offer.host, host, addresses, seconds))


def _not_found(name: str, error: socket.gaierror) -> str:
    if error.errno == socket.EAI_AGAIN:
        return (
            f"METADATA names {name} as the TURN server, but no name server says where that is ({error.strerror}): "
            f"core waits for {CORE_WAITS:g} s at each call, and gets no TURN server"
        )
    return (
        f"METADATA names {name} as the TURN server, but that name leads nowhere ({error.strerror}): "
        "core gets no TURN server"
    )


def _no_help(target: Target, name: str, host: Host, addresses: Sequence[str], seconds: float) -> str:
    own = host.addresses_of(target.host) | target.other_addresses
    if name not in (target.host, target.domain) and not own.intersection(addresses):
        return (
            f"METADATA names {name} as the TURN server, and that is at {', '.join(addresses)}, where {target.host} "
            "is not: calls go to somebody else's server, or to none"
        )
    if seconds > CORE_WAITS:
        return (
            f"METADATA names {name} as the TURN server, but it takes {seconds:.1f} s to find it: "
            f"core gives up after {CORE_WAITS:g} s, and gets no TURN server"
        )
    return ""


@check("DISC-5", "TURN-8", needs=("turn",))
def turn_host_leads_to_the_target(target: Target, host: Host) -> Outcome:
    """What METADATA names as the TURN server is an address of the target, or a name that leads there in time."""
    offer = stated_turn(target, host)
    outcome = current_outcome()
    found = search(target, offer, host)
    outcome.measurements["turn"] = str(offer)
    if _is_address(offer.host):
        outcome.note("METADATA gives the TURN server's address: no name server is needed for it")
    else:
        outcome.measurements |= {"addresses": list(found.addresses), "seconds": round(found.seconds, 2)}
    if found.seconds > SLOW and not found.cause:
        outcome.note(f"{offer.host} is found after {found.seconds:.1f} s, and each first call waits as long")
    return outcome.expect(not found.cause, found.cause)


@check("DISC-5", "TURN-8", needs=("iroh_relay", "turn", "lab"))
def core_finds_turn_by_its_name(
    _target: Target, labs: LabFactory, ways: Sequence[str] = QUICK_WAYS
) -> Outcome:
    """Cores find TURN by the name in METADATA and call through it; when the name fails they turn to nobody else."""
    need_agents()
    outcome = current_outcome()
    with labs(arguments=("--advertise-turn", f"{NAME}:{STUN_PORT}")) as lab:
        lab.lab.names.set(NAME, lab.server.address)
        homes = {name: lab.lab.device(name, profiles.HOME) for name in ("alice", "bob", *ways)}
        offer = stated_turn(lab.target, homes["alice"])
        if cause := search(lab.target, offer, homes["alice"]).cause:
            raise PromiseBroken(cause)
        with Edges(homes.values()) as edges:
            _call_by_name(lab, homes)
            with lab.devices({way: homes[way] for way in ways}) as devices:
                for device in devices:
                    _fail(outcome, lab, offer, device)
            _expect_nothing_else(outcome, lab, homes, edges)
    return outcome


def _call_by_name(lab: LabSession, homes: Mapping[str, LabHost]) -> None:
    """While the name server is in order, and what is left of it when it is not any more."""

    def judge(outcome: Outcome, friends: Friends) -> None:
        judge_relayed_call(outcome, lab.target, friends, "by-name", video=False)
        servers = {url for each in friends.servers["alice"] for url in each.urls}
        outcome.measurements["core, healthy"] = sorted(servers)
        lab.lab.names.fail(NAME, Refusal.NXDOMAIN)
        remembered, _seconds = _ask_core(friends.alice)
        lab.lab.names.heal(NAME)
        outcome.expect(
            set(remembered) == servers,
            f"once {NAME} was found, core should do without the name server, it has {remembered or 'no TURN server'}",
        )

    with_friends(
        lab.target, homes["alice"], lambda names: lab.devices({each: homes[each] for each in names}), judge
    )


def _fail(outcome: Outcome, lab: LabSession, offer: TurnOffer, device: Device) -> None:
    """One way to fail, for a device of the same name whose core has never found the TURN server."""
    way = device.name
    device.account.wait_for("ImapInboxIdle", "METADATA to be read, which is before IDLE", within=60)
    lab.lab.names.fail(NAME, EVERY_WAY[way])
    try:
        urls, seconds = _ask_core(device)
        found = search(lab.target, offer, device.host)
    finally:
        lab.lab.names.heal(NAME)
    got = ", ".join(urls) or "no TURN server"
    sentence = f"{way}: core has {got} after {seconds:.1f} s; {found.cause or 'the name is found'}"
    outcome.note(sentence)
    progress.info("%s", sentence)
    outcome.measurements[way] = {"core": urls, "seconds": round(seconds, 2), "cause": found.cause}
    known = {f"turn:{address}:{offer.port}" for address in (lab.server.address, ELSEWHERE)}
    strange = sorted(set(urls) - known)
    outcome.expect(not strange, f"{way}: core would use {', '.join(strange)}, which METADATA does not name")


def _ask_core(device: Device) -> tuple[list[str], float]:
    """What core gives its user interface for a call, and after how many seconds."""
    started = time.monotonic()
    servers = device.account.client.ice_servers()
    return [url for each in servers for url in each["urls"]], time.monotonic() - started


def _expect_nothing_else(
    outcome: Outcome, lab: LabSession, homes: Mapping[str, LabHost], edges: Edges
) -> None:
    """The devices dealt with the target alone, and asked for nothing but the name that METADATA gave."""
    own = frozenset({lab.server.address})
    everybody = Parties(
        tuple(Resident.at(each) for each in homes.values()),
        (Site("turn", own, udp=None),),
        (
            Site("mail", own, frozenset({lab.target.imaps, lab.target.submissions})),
            Site("name server", frozenset(NAME_SERVERS), udp=frozenset({DNS_PORT})),
        ),
    )
    asked = [(each.asker, each.name) for each in lab.lab.names.queries]
    went = egress.of_edges(edges.now(), everybody, devices=Toward.CHECKS, lookups=asked, names=[NAME])
    outcome.expect(went, f"devices went where they should not: {went}")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
