"""What clients and ledgers say, brought into the form of a verdict's witnesses."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

from harness.calls.peers import Stats, Traffic
from harness.clients.control import AcceptedConnection, ServiceLedger
from harness.clients.turn.ledger import NOTHING, Count, PeerAccount, TurnAllocation
from harness.evidence import paths
from harness.evidence.parties import ObservedDevice
from harness.evidence.paths import ClientCounts, RelayedBytes
from harness.network.profiles import CARRIER, PUBLIC, Profile

from .recorded import CALL, REALTIME

ALICE_RELAYED, BOB_RELAYED = "5.9.0.1:49200", "5.9.0.1:49300"


def stats(sent: int, received: int) -> Stats:
    return Stats(Traffic(sent, sent * 10, received, received * 10), None, "", "", {}, 0, 0, True)


def test_agents_say_what_they_counted_since_a_reading():
    before = {"alice": stats(10, 20)}
    assert paths.client_counts({"alice": stats(15, 27)}, before) == {
        "alice": ClientCounts(Count(5, 50), Count(7, 70))
    }
    assert paths.client_counts({"alice": stats(15, 27)}) == {
        "alice": ClientCounts(Count(15, 150), Count(27, 270))
    }


def allocation(client: str, relayed: str, peer: str, *, up: int = 0, down: int = 0) -> TurnAllocation:
    def classes(packets: int) -> dict[str, Count]:
        return {"rtp": Count(packets, packets * 200), "stun": Count(9, 792)}

    return TurnAllocation(
        id=1,
        transport="udp",
        client=client,
        server="5.9.0.1:3478",
        username="1790000000",
        relayed=(relayed,),
        opened=0.0,
        closed=None,
        reason=None,
        control_in=NOTHING,
        control_out=NOTHING,
        peers=(PeerAccount(peer, None, classes(up), classes(down)),),
        drops={},
    )


def turn(*allocations: TurnAllocation) -> ServiceLedger:
    return ServiceLedger("turn", True, 0.0, (), (), (), True, allocations=allocations)


def test_a_forward_between_two_allocations_counts_once():
    ledger = turn(
        allocation("5.9.0.10:61000", ALICE_RELAYED, BOB_RELAYED, up=500, down=400),
        allocation("5.9.0.20:62000", BOB_RELAYED, ALICE_RELAYED, up=400, down=500),
        allocation("9.9.9.9:1", "5.9.0.1:50000", "8.8.8.8:1", up=999, down=999),
    )
    assert paths.turn_carried(ledger, CALL) == {"alice": Count(500, 100_000), "bob": Count(400, 80_000)}


def test_of_one_leg_both_directions_stand_in_one_allocation():
    ledger = turn(allocation("5.9.0.20:62000", BOB_RELAYED, "5.9.0.10:61001", up=400, down=500))
    assert paths.turn_carried(ledger, CALL) == {"alice": Count(500, 100_000), "bob": Count(400, 80_000)}


def test_what_turn_carried_before_is_taken_off():
    before = turn(allocation("5.9.0.20:62000", BOB_RELAYED, "5.9.0.10:61001", up=100, down=100))
    ledger = turn(allocation("5.9.0.20:62000", BOB_RELAYED, "5.9.0.10:61001", up=400, down=500))
    assert paths.turn_carried(ledger, CALL, before) == {
        "alice": Count(400, 80_000),
        "bob": Count(300, 60_000),
    }


def relay(*connections: AcceptedConnection) -> ServiceLedger:
    return ServiceLedger("iroh_relay", True, 0.0, (), connections, (), True)


def connection(number: int, remote: str, taken: int, given: int) -> AcceptedConnection:
    return AcceptedConnection(number, "relay", remote, None, 0.0, None, taken, given, 0, 0)


def test_a_relay_transfers_what_its_connections_with_devices_carried():
    before = relay(connection(1, "5.9.0.10:61000", 100, 200))
    now = relay(
        connection(1, "5.9.0.10:61000", 1100, 1200),
        connection(2, "5.9.0.20:62000", 10, 20),
        connection(3, "9.9.9.9:1", 5000, 5000),
    )
    assert paths.transferred(now, REALTIME) == RelayedBytes(1110, 1220)
    assert paths.transferred(now, REALTIME, before) == RelayedBytes(1010, 1020)


@dataclass
class Place:
    """A stand-in for a host of a lab."""

    name: str
    addresses: tuple[str, ...]
    routers: list[SimpleNamespace] = field(default_factory=list)
    profile: Profile = PUBLIC


def router(name: str, *addresses: str) -> SimpleNamespace:
    return SimpleNamespace(name=name, link=SimpleNamespace(addresses=addresses))


def test_a_device_is_known_by_the_addresses_of_its_routers_too():
    home = Place(
        "alice", ("10.0.1.2",), [router("home", "100.64.0.2"), router("carrier", "5.9.0.10")], CARRIER
    )
    at_home = ObservedDevice.at(home)
    addresses = frozenset({"10.0.1.2", "100.64.0.2", "5.9.0.10"})
    assert at_home == ObservedDevice("alice", addresses, ("home", "carrier"), "carrier")
    moved = ObservedDevice.at(Place("alice", ("5.9.0.99",)), moved_from=at_home)
    assert moved == ObservedDevice("alice", at_home.addresses | {"5.9.0.99"}, (), "public")
