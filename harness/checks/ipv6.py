"""Devices without an IPv4 address: mail, realtime data and calls with a server that is found over both families."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..calls.agent import IceServer, NoRelayCandidate, calls_are_possible
from ..calls.call import Media, Party, parties, place
from ..calls.servers import ice_servers
from ..clients.core.core import SendFailed, befriend
from ..clients.device import Device
from ..clients.turn import stun
from ..evidence import drawing, egress, paths
from ..evidence.edges import Edges
from ..evidence.egress import Toward
from ..evidence.flows import EdgeCounts
from ..evidence.parties import Device as Resident
from ..evidence.parties import Parties, Site
from ..evidence.verdicts import Path, Verdict
from ..hosts import Host
from ..network import probe, profiles
from ..network.firewall import Firewall
from ..network.lab import NAME_SERVERS, LabHost
from ..network.nat import BLOCKED
from ..network.profiles import Gateway, Profile
from ..network.punching import can_go_direct
from ..realtime.swarm import Swarm, join
from ..stage.lab import DOMAIN, RELAY_PORT, STUN_PORT, LabFactory, LabSession
from ..stage.watch import NAT_TRIAL, QAD_PORT
from ..steps.calls import machine_too_slow
from ..steps.outcome import Outcome, check, current_outcome
from ..steps.swarms import expected_way
from ..target import Target
from ..urls import RelayUrl
from ..waiting import Deadline
from .discovery import offered, offered_turn

__all__ = ["IPV6_WITHOUT_UDP", "devices_without_ipv4_are_served"]

progress = logging.getLogger("harness.progress")

IPV6_WITHOUT_UDP = Profile(
    "IPv6 only, UDP blocked",
    "No IPv4 address, and a firewall that swallows UDP, except for DNS.",
    (Gateway(firewall=Firewall(udp=False, unsolicited=False)),),
    ipv6=BLOCKED,
)
RELAY6 = f"relay.{DOMAIN}"
"""A name of the relay that has an IPv6 address alone. Where STUN does not answer over IPv6, iroh 0.35 dials the IPv4
address of a name that has both, also on a device that has none."""
MESSAGES, SIZE = 20, 1000
"""From each device, and bytes of each."""
WITHIN = 20.0
"""Seconds for mail, and for a swarm to come together; a second is usual."""
DIRECT_WITHIN = 15.0
"""Seconds for iroh to find the direct way."""
CALL_WITHIN, CALL_SECONDS = 12.0, 1.0
CONNECT_WITHIN = 5.0
DNS_PORT = 53


@dataclass(frozen=True)
class _Pair:
    """Two devices, what their server offers, and who counts what they send."""

    lab: LabSession
    devices: tuple[Device, Device]
    hosts: Mapping[str, LabHost]
    everybody: Parties
    edges: Edges


@check("DISC-5", "IROH-5", "TURN-8", "E2E-path", needs=("iroh_relay", "turn", "ledger", "lab"))
def devices_without_ipv4_are_served(
    _target: Target,
    labs: LabFactory,
    one: Profile = profiles.IPV6_ONLY,
    other: Profile = profiles.IPV6_ONLY,
) -> Outcome:
    """Mail and realtime data pass over IPv6 alone, on the expected way; calls get no relay, and the record says why."""
    outcome = current_outcome()
    by_ipv6 = ("--advertise-relay", f"http://{RELAY6}:{RELAY_PORT}")
    with labs(ipv6=True, arguments=() if can_go_direct(one, other) else by_ipv6) as lab:
        lab.lab.names.set(RELAY6, *(each for each in lab.server.addresses if ":" in each))
        hosts = {name: lab.lab.device(name, network) for name, network in (("alice", one), ("bob", other))}
        for host in hosts.values():
            probe.verify(lab.lab, host)
        if not _expect_mail_listeners(outcome, lab.target, hosts["alice"]):
            return outcome
        relay = offered(lab.target, hosts["alice"]).iroh_relay
        if not _expect_relay_listeners(outcome, relay, hosts["alice"]):
            return outcome
        with (
            _pair(outcome, lab, hosts, relay) as pair,
            outcome.expect_to_arrive(SendFailed, what=f"{one.name} with {other.name}"),
        ):
            _exchange_mail(outcome, pair)
            _try_calls(
                outcome, pair
            )  # first: iroh keeps its connections, and at an edge they look like media
            _exchange_realtime(outcome, pair)
            _expect_families(outcome, pair)
    return outcome


@contextlib.contextmanager
def _pair(
    outcome: Outcome, lab: LabSession, hosts: Mapping[str, LabHost], relay: RelayUrl
) -> Iterator[_Pair]:
    capture = lab.logs / "ipv6.pcapng"
    devices: tuple[Device, ...] = ()
    try:
        with Edges(hosts.values(), capture) as edges, lab.devices(hosts) as devices:
            outcome.clients |= {each.name: each.description for each in devices}
            alice, bob = devices
            yield _Pair(lab, (alice, bob), hosts, _parties(lab, hosts, relay), edges)
    finally:
        outcome.evidence += [capture, *(file for each in devices for file in each.log_files)]


def _parties(lab: LabSession, hosts: Mapping[str, LabHost], relay: RelayUrl) -> Parties:
    own = frozenset(lab.server.addresses)
    return Parties(
        tuple(Resident.at(each) for each in hosts.values()),
        (Site("relay", own, frozenset({relay.port})),),
        (
            Site("mail", own, frozenset({lab.target.imaps, lab.target.submissions})),
            Site("address discovery", own, udp=frozenset({STUN_PORT, QAD_PORT})),
            Site("name server", frozenset(NAME_SERVERS), udp=frozenset({DNS_PORT})),
            NAT_TRIAL,
        ),
    )


def _expect_mail_listeners(outcome: Outcome, target: Target, host: Host) -> Outcome:
    """Before any core starts: it would only say that it cannot be configured."""
    return _expect_listeners(outcome, host, target.host, target.imaps, target.submissions)


def _expect_relay_listeners(outcome: Outcome, relay: RelayUrl, host: Host) -> Outcome:
    """Likewise what would only show as silence."""
    _expect_listeners(outcome, host, relay.host, relay.port)
    addresses = host.resolve(relay.host)
    if all(":" in each for each in addresses):
        return outcome
    for address in addresses:
        if ":" in address:
            with outcome.expect_to_arrive(
                stun.StunError,
                OSError,
                what=f"no STUN over IPv6 at {address}: iroh 0.35 dials the IPv4 address of {relay.host} then, and "
                "a device without IPv4 never gets there",
            ):
                stun.probe(host, address, within=CONNECT_WITHIN)
    return outcome


def _expect_listeners(outcome: Outcome, host: Host, name: str, *ports: int) -> Outcome:
    addresses = [each for each in host.resolve(name) if ":" in each]
    outcome.expect(addresses, f"{name} has no IPv6 address")
    for address, port in itertools.product(addresses, ports):
        with outcome.expect_to_arrive(OSError, what=f"nobody answers over IPv6 at {address} port {port}"):
            host.connect(address, port, within=CONNECT_WITHIN).close()
    return outcome


def _exchange_mail(outcome: Outcome, pair: _Pair) -> None:
    """Secure join takes mail in both directions."""
    pair.edges.begin("mail")
    alice, bob = pair.devices
    befriend(alice.account, bob.account, within=WITHIN)
    pair.edges.settle(within=WITHIN)
    passed = pair.edges.phase("mail")
    outcome.measurements["mail"] = {name: _bytes_by_family(counts) for name, counts in passed.items()}
    progress.info("alice and bob are befriended by secure join")


def _exchange_realtime(outcome: Outcome, pair: _Pair) -> None:
    wanted = expected_way(*(pair.hosts[each.name].profile for each in pair.devices))
    swarm = join(*pair.devices, within=WITHIN)
    deadline = Deadline(DIRECT_WITHIN)
    for number in itertools.count(1):
        path = _exchange(outcome, pair, swarm, f"realtime, trial {number}")
        if path.verdict is wanted or wanted is not Verdict.DIRECT or deadline.over or not outcome:
            break
    outcome.paths["realtime"] = path.name
    outcome.measurements["path"] = drawing.as_json(path)
    outcome.expect(path.verdict is wanted, f"messages should be {wanted}, they are not: {path.sentence}")


def _exchange(outcome: Outcome, pair: _Pair, swarm: Swarm, phase: str) -> Path:
    """Both send; which way it went by the edges, the relay's ledger and the apps."""
    assert pair.lab.target.control is not None
    control = pair.lab.target.control
    pair.edges.settle(within=WITHIN)
    before = control.ledger().iroh_relay
    pair.edges.begin(phase)
    table = swarm.exchange(MESSAGES, size=SIZE)
    outcome.expect(table.all_right, f"realtime messages went wrong: {table}")
    pair.edges.settle(within=WITHIN)
    counted = pair.edges.phase(phase)
    carried = paths.transferred(control.ledger().iroh_relay, pair.everybody, before)
    outcome.measurements["realtime"] = {name: _bytes_by_family(counts) for name, counts in counted.items()}
    arrived = SIZE * sum(row.delivered for row in table.directions)
    return paths.of_realtime(counted, pair.everybody, arrived, carried, phase=phase)


def _try_calls(outcome: Outcome, pair: _Pair) -> None:
    """Core gets the TURN server, but who has no IPv4 address does not get there; their own addresses may suffice."""
    if not calls_are_possible():
        outcome.note("calls were not tried: aiortc is missing (extra calls)")
        return
    target = pair.lab.target
    offer = offered_turn(target, pair.lab.server)
    servers = {each.name: ice_servers(each.account, offer, each.host) for each in pair.devices}
    for each in itertools.chain(*servers.values()):
        target.on_secret(each.credential or "")
    try:
        with _agents(outcome, pair, "relayed", servers) as both:
            place(*both, Media(), within=CALL_WITHIN)
    except NoRelayCandidate as error:
        outcome.paths["call through TURN"] = str(Verdict.NONE)
        outcome.note(
            f"no call through TURN: METADATA can only give its IPv4 address ({offer.host}), alice has none: {error}"
        )
    else:
        outcome.expect(False, f"alice has no IPv4 address, and yet a relay from {offer.host}")
    # An agent stands for one address of its host, which is that of IPv4 where there is one.
    networks = [pair.hosts[each.name].profile for each in pair.devices]
    if can_go_direct(*networks) and all(each.ipv4 is None for each in networks):
        _call_directly(outcome, pair)


def _call_directly(outcome: Outcome, pair: _Pair) -> None:
    """As Delta Chat does that has found no relay: it offers the addresses of the device itself."""
    pair.edges.settle(within=WITHIN)
    pair.edges.begin("call")
    with _agents(outcome, pair, "direct", {each.name: () for each in pair.devices}) as both:
        call = place(*both, Media(), within=CALL_WITHIN).accept(within=CALL_WITHIN)
        with machine_too_slow():
            call.talk(CALL_SECONDS)
        call.hang_up(within=CALL_WITHIN)
        # Now, and not when they fell silent: RTCP goes on until the end.
        agents = paths.client_counts({side.name: side.agent.stats() for side in call.sides})
    pair.edges.settle(within=WITHIN)
    pair.edges.begin("after the call")
    path = paths.of_call(pair.edges.phase("call"), pair.everybody, agents, None, phase="call")
    outcome.measurements["call"] = drawing.as_json(path)
    outcome.paths["call by own addresses"] = path.name
    outcome.expect(path.is_direct, f"the call should be direct, it is not: {path.sentence}")


@contextlib.contextmanager
def _agents(
    outcome: Outcome, pair: _Pair, name: str, servers: Mapping[str, Sequence[IceServer]]
) -> Iterator[tuple[Party, Party]]:
    logs = pair.lab.logs / f"call-{name}"
    try:
        with parties(*pair.devices, servers, logs, ca_file=pair.lab.target.ca_file) as both:
            yield both
    finally:
        outcome.evidence += sorted(logs.glob("*.agent.log"))


def _expect_families(outcome: Outcome, pair: _Pair) -> None:
    """Who has no IPv4 address has sent and received IPv6 alone, and all went to the target and to each other."""
    counted = pair.edges.now()
    for name, counts in counted.items():
        by_family = _bytes_by_family(counts)
        outcome.measurements[f"{name}, all"] = by_family
        if pair.hosts[name].profile.ipv4 is None:
            outcome.expect(not by_family["ipv4"], f"{name} has no IPv4 address: {by_family['ipv4']} bytes")
            outcome.expect(by_family["ipv6"], f"no byte of {name} went over IPv6")
    asked = [(each.asker, each.name) for each in pair.lab.lab.names.queries]
    went = egress.of_edges(counted, pair.everybody, devices=Toward.ALL, lookups=asked, names=[DOMAIN])
    outcome.expect(went, f"devices went where they should not: {went}")


def _bytes_by_family(counts: EdgeCounts) -> dict[str, int]:
    """Sent and received, behind the IP header."""
    sums = {"ipv4": 0, "ipv6": 0}
    for flow, count in itertools.chain(counts.tx.rows.items(), counts.rx.rows.items()):
        sums["ipv6" if ":" in flow.source.address else "ipv4"] += count.bytes
    return sums
