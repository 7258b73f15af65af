"""Calls between devices in a lab: who is there, and which way a call took, by witnesses besides its agents."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..calls.agent import IceServer, NoRelayCandidate
from ..calls.call import Media, Talked, parties, place
from ..calls.servers import TURNS_KEY, ice_servers
from ..checks.discovery import offered, offered_turn
from ..clients.device import Device
from ..evidence import egress, paths
from ..evidence.artefacts import keep
from ..evidence.edges import Edges
from ..evidence.egress import Egress, Toward
from ..evidence.parties import Device as Resident
from ..evidence.parties import Parties, Site
from ..network.lab import LabHost
from ..network.probe import self_test
from ..network.profiles import Profile
from ..stage.lab import LabSession
from ..waiting import WaitTimeout
from .calls import CALL_WITHIN, machine_too_slow, turn_ledger_of

__all__ = ["Callers", "Seen", "Servers", "callers", "try_call"]

progress = logging.getLogger("harness.progress")

Servers = Mapping[str, Sequence[IceServer]]
"""By the name of the device."""
PHASE = "media"
HTTPS = 443
STUN_PORT = 3478
SETTLE_WITHIN = 10.0
"""Seconds until nothing is on its way any more once both sides have hung up."""


@dataclass(frozen=True)
class Callers:
    """Devices of a lab that are online, by name, and what their cores would use for a call."""

    session: LabSession
    hosts: Mapping[str, LabHost]
    devices: Mapping[str, Device]
    servers: Servers
    relays: tuple[Site, ...]
    others: tuple[Site, ...]
    turns: tuple[str, int]
    """Where METADATA says that TURN is over TLS."""

    def parties(self, *names: str) -> Parties:
        """These devices, and what the server offers to them."""
        residents = tuple(Resident.at(self.hosts[name]) for name in names)
        return Parties(residents, self.relays, self.others)


@dataclass(frozen=True)
class Seen:
    """What became of one call that was tried."""

    path: paths.Path
    egress: Egress
    refused: str
    """Why there was no call; empty if there was one."""
    talked: Talked | None
    files: tuple[Path, ...]
    """What the agents wrote, and the path as a drawing, as JSON and as text."""


@contextmanager
def callers(session: LabSession, places: Mapping[str, Profile]) -> Iterator[Callers]:
    """A device in each of these networks, by name of the device.

    Each kind of network is tested first. Raises `NotAsItSays` if one is another than its profile says, and
    `PromiseBroken` if the server does not offer what calls need: no core is started then.
    """
    for profile in dict.fromkeys(places.values()):
        self_test(profile)
    relays, others, turns = _services(session)
    offer = offered_turn(session.target, session.server)
    hosts = {name: session.lab.device(name, profile) for name, profile in places.items()}
    by_443 = [name for name, profile in places.items() if profile.only_443]
    with session.devices(hosts, by_443=by_443) as started:
        progress.info("%d devices are online, each in a network of its own", len(started))
        servers = {each.name: ice_servers(each.account, offer, each.host) for each in started}
        for each in itertools.chain(*servers.values()):
            session.target.on_secret(each.credential or "")
        yield Callers(session, hosts, {each.name: each for each in started}, servers, relays, others, turns)


def try_call(
    here: Callers, caller: str, callee: str, *, seconds: float, servers: Servers | None = None
) -> Seen:
    """Call and talk for so long, and ask all witnesses which way the media took. The two must be befriended.

    That there is no call is one of the answers. Two calls with a device in common cannot be tried at the same time.
    `servers`: others than those that the cores gave.
    """
    target = here.session.target
    everybody = here.parties(caller, callee)
    known = turn_ledger_of(target)
    logs = here.session.logs / f"call {caller} to {callee}{' override' if servers else ''}"
    refused, talked, agents = "", None, None
    with Edges([here.hosts[caller], here.hosts[callee]]) as edges:
        edges.begin(PHASE)
        with parties(
            here.devices[caller],
            here.devices[callee],
            servers or here.servers,
            logs,
            ca_file=target.ca_file,
        ) as both:
            try:
                call = place(*both, Media(), within=CALL_WITHIN).accept(within=CALL_WITHIN)
            except (NoRelayCandidate, WaitTimeout) as error:
                refused = str(error)
            else:
                with machine_too_slow():
                    talked = call.talk(seconds)
                call.hang_up(within=CALL_WITHIN)
                agents = paths.client_counts({side.name: side.agent.stats() for side in call.sides})
        edges.settle(within=SETTLE_WITHIN)
        counted = edges.phase(PHASE)
    ledger = paths.turn_carried(turn_ledger_of(target), everybody, known)
    path = paths.of_call(counted, everybody, agents, ledger, phase=PHASE)
    toward = Toward.ALL if path.is_direct else Toward.CHECKS
    return Seen(
        path,
        egress.of_edges(counted, everybody, devices=toward),
        refused,
        talked,
        (*sorted(logs.glob("*.agent.log")), *keep(path, everybody, logs, PHASE)),
    )


def _services(session: LabSession) -> tuple[tuple[Site, ...], tuple[Site, ...], tuple[str, int]]:
    """What the server offers: those that relay calls, the others, and where TURN is over TLS."""
    target, at_443 = session.target, session.target_443
    secure = offered_turn(target, session.server, TURNS_KEY)
    relay = offered(target, session.server).iroh_relay
    own = frozenset({session.server.address})
    relays = (
        Site("turn", own, frozenset(each.port for each in target.turn if each.transport != "udp"), None),
        Site("turn", frozenset({secure.host}), frozenset({secure.port})),
    )
    others = (
        Site("mail", own, frozenset({target.imaps, target.submissions, target.https})),
        Site("mail", frozenset(filter(None, (at_443.imap_host, at_443.smtp_host))), frozenset({HTTPS})),
        Site("iroh relay", frozenset({relay.host}), frozenset({relay.port}), frozenset({STUN_PORT})),
    )
    return relays, others, (secure.host, secure.port)
