"""Devices without an IPv4 address: mail, realtime data and calls with a server that is found over both families."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from ..calls.agent import calls_are_possible
from ..calls.call import Media, place
from ..calls.peers import NoRelayCandidate
from ..clients.core.core import SendFailed, befriend
from ..clients.turn import stun
from ..evidence import expected
from ..evidence.egress import DirectTraffic
from ..evidence.verdicts import ObservedPath, PathVerdict
from ..hosts import Host
from ..network import profiles
from ..network.firewall import Firewall
from ..network.nat import BLOCKED
from ..network.profiles import Gateway, Profile
from ..network.punching import can_go_direct
from ..realtime.swarm import Swarm, join
from ..report.observations import PathSeen
from ..servers.server import Wants
from ..stage.check import check
from ..stage.lab import DOMAIN, RELAY_PORT, LabStage, People
from ..stage.offers import require_generation_of_cores
from ..stage.outcome import Outcome, PromiseBroken, promised
from ..stage.stage import Stage
from ..steps.call_lab import LabCallers
from ..steps.calls import CALL_WITHIN, Servers, ice_servers_of
from ..steps.observed import families_seen, path_seen, swarm_seen
from ..steps.relay_exchange import RELAY_FORWARDS
from ..target import Service
from ..urls import RelayUrl
from ..waiting import Deadline

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
CALL_SECONDS = 1.0
CONNECT_WITHIN = 5.0


@check(
    *("DISC-5", "IROH-5", "TURN-8", "E2E-path"),
    needs=("iroh_relay", "turn", "lab"),
    after=RELAY_FORWARDS,
)
def devices_without_ipv4_are_served(
    stage: Stage,
    outcome: Outcome,
    one: Profile = profiles.IPV6_ONLY,
    other: Profile = profiles.IPV6_ONLY,
) -> None:
    """Mail and realtime data pass over IPv6 alone, on the expected way; calls get no relay, and the record says why."""
    require_generation_of_cores(stage.target)
    by_ipv6 = Wants(advertised_relay=f"http://{RELAY6}:{RELAY_PORT}")
    wants = Wants() if can_go_direct(one, other) else by_ipv6
    with stage.lab(wants | Wants(both_families=True)) as lab:
        lab.network.names.set(RELAY6, *_of_ipv6(lab.machine.resolve(DOMAIN)))
        _require_listeners(lab)
        with (
            lab.people(DirectTraffic.ALL, [DOMAIN], alice=one, bob=other) as people,
            outcome.expect_to_arrive(SendFailed, what=f"{one.name} with {other.name}"),
        ):
            _exchange_mail(outcome, people)
            # First: iroh keeps its connections, and at an edge they look like media.
            _try_calls(outcome, people)
            _exchange_realtime(outcome, people)
            _expect_families(outcome, people)


def _require_listeners(lab: LabStage) -> None:
    """Before any core starts: it would only say that it cannot be configured, or be silent. Raises `PromiseBroken`."""
    outside = lab.network.device("outside", profiles.IPV6_ONLY)
    target = lab.target
    _require_answers(outside, target.host, target.imaps, target.submissions)
    relay = lab.own_relay()
    _require_answers(outside, relay.host, relay.port)
    addresses = outside.resolve(relay.host)
    if any(":" not in each for each in addresses):
        for address in _of_ipv6(addresses):
            _require_stun(outside, relay, address)


def _require_answers(host: Host, name: str, *ports: int) -> None:
    addresses = _of_ipv6(host.resolve(name))
    if not addresses:
        raise PromiseBroken(f"{name} has no IPv6 address")
    for address, port in itertools.product(addresses, ports):
        with promised(OSError, what=f"nobody answers over IPv6 at {address} port {port}"):
            host.connect(address, port, within=CONNECT_WITHIN).close()


def _require_stun(host: Host, relay: RelayUrl, address: str) -> None:
    with promised(
        stun.StunError,
        OSError,
        what=f"no STUN over IPv6 at {address}: iroh 0.35 dials the IPv4 address of {relay.host} then, and "
        "a device without IPv4 never gets there",
    ):
        stun.probe(host, address, within=CONNECT_WITHIN)


def _of_ipv6(addresses: Sequence[str]) -> list[str]:
    return [each for each in addresses if ":" in each]


def _exchange_mail(outcome: Outcome, people: People) -> None:
    """Secure join takes mail in both directions."""
    alice, bob = people
    with people.watch("mail", Service.IROH_RELAY) as seen:
        befriend(alice.account, bob.account, within=WITHIN)
    outcome.observe(families_seen(seen.of_devices, "mail"))
    progress.info("alice and bob are befriended by secure join")


def _exchange_realtime(outcome: Outcome, people: People) -> None:
    wanted = expected.of_realtime(*(people.host(each).profile for each in people)).verdict
    swarm = join(*people, within=WITHIN)
    deadline = Deadline(DIRECT_WITHIN)
    for number in itertools.count(1):
        path = _exchange(outcome, people, swarm, f"realtime, trial {number}")
        if path.verdict is wanted or wanted is not PathVerdict.DIRECT or deadline.over or not outcome:
            break
    outcome.expect(path.verdict is wanted, f"messages should be {wanted}, they are not: {path.sentence}")


def _exchange(outcome: Outcome, people: People, swarm: Swarm, phase: str) -> ObservedPath:
    """Both send; the way of it."""
    with people.watch(phase, Service.IROH_RELAY) as seen:
        table = swarm.exchange(MESSAGES, size=SIZE)
    outcome.expect(table.all_right, f"realtime messages went wrong: {table}")
    path = seen.path_of_realtime(SIZE * sum(row.delivered for row in table.directions))
    outcome.observe(swarm_seen(table, "realtime"))
    outcome.observe(path_seen(path, seen.parties, phase="realtime"))
    outcome.observe(families_seen(seen.of_devices, "realtime"))
    return path


def _try_calls(outcome: Outcome, people: People) -> None:
    """Core gets the TURN server, but who has no IPv4 address does not get there; their own addresses may suffice."""
    if not calls_are_possible():
        outcome.note("calls were not tried: aiortc is missing (extra calls)")
        return
    offer = people.offers.turn
    assert offer is not None, "the check needs `turn`"
    callers = LabCallers(people.lab, people.devices, ice_servers_of(people, offer, people.lab), people)
    try:
        with callers.with_peers("through TURN") as both:
            place(*both, Media(), within=CALL_WITHIN)
    except NoRelayCandidate as error:
        outcome.observe(PathSeen("call through TURN", PathVerdict.NONE.value, PathVerdict.NONE.value))
        outcome.note(
            f"no call through TURN: METADATA can only give its IPv4 address ({offer.host}), alice has none: {error}"
        )
    else:
        outcome.expect(False, f"alice has no IPv4 address, and yet a relay from {offer.host}")
    # An agent stands for one address of its host, which is that of IPv4 where there is one.
    networks = [people.host(each).profile for each in people]
    if can_go_direct(*networks) and all(each.ipv4 is None for each in networks):
        _call_directly(callers)


def _call_directly(callers: LabCallers) -> None:
    """As Delta Chat does that has found no relay: it offers the addresses of the device itself."""
    nothing: Servers = dict.fromkeys(callers.devices, ())
    call = callers.attempt("by own addresses", "alice", "bob", seconds=CALL_SECONDS, servers=nothing)
    what = f"the call should be direct, it is not: {call.path.sentence} {call.refused}"
    callers.outcome.expect(call.path.is_direct, what.rstrip())


def _expect_families(outcome: Outcome, people: People) -> None:
    """A device without an IPv4 address has sent and received IPv6 alone."""
    counted = families_seen(people.edges.now(people.hosts), "all")
    outcome.observe(counted)
    for flow in counted.flows:
        passed = flow.sent_bytes + flow.received_bytes
        if people.hosts[flow.device].profile.ipv4 is None and flow.family == "IPv4":
            outcome.expect(not passed, f"{flow.device} has no IPv4 address: {passed} bytes")
        if people.hosts[flow.device].profile.ipv4 is None and flow.family == "IPv6":
            outcome.expect(passed, f"no byte of {flow.device} went over IPv6")
