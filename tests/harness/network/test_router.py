"""What routers do to UDP over time, and what can be changed while a lab runs."""

import dataclasses
import errno
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from harness.network import profiles
from harness.network.lab import Lab, LabHost
from harness.network.nat import Dependence, Nat
from harness.network.probe import IPV4, Address, Reflector, arrived, udp_socket
from harness.network.profiles import Profile
from harness.network.punching import punch
from harness.waiting import wait_until

INDEPENDENT = Dependence.ENDPOINT_INDEPENDENT
Udp = Callable[..., socket.socket]

WITHIN = 10.0
PORT = 7000
TRANSLATED = (
    profiles.FULL_CONE,
    profiles.ADDRESS_RESTRICTED,
    profiles.HOME,
    profiles.SYMMETRIC,
    profiles.SYMMETRIC_OPEN,
    profiles.CARRIER,
    profiles.MOBILE,
)
named = pytest.mark.parametrize("profile", TRANSLATED, ids=lambda profile: profile.name)


@dataclasses.dataclass
class Pair:
    """A device with one socket, and a server that it talks to."""

    server: LabHost
    at: socket.socket
    device: LabHost
    client: socket.socket

    def seen(self) -> Address:
        """Where the server sees the device."""
        return deliver(self.client, self.at.getsockname(), self.at)

    def reached_at(self, address: Address, through: Address) -> bool:
        """Whether the device gets what the server sends to an address, when what is sent `through` arrives."""
        token, control = secrets.token_bytes(8), secrets.token_bytes(8)
        self.at.sendto(token, address)
        self.at.sendto(control, through)
        got: dict[bytes, Address] = {}
        wait_until(lambda: got.update(arrived(self.client)) or control in got, "the control", within=WITHIN)
        return token in got


def deliver(sender: socket.socket, to: Address, receiver: socket.socket) -> Address:
    """Send one packet and wait for it: where it came from."""
    token = secrets.token_bytes(8)
    sender.sendto(token, to)
    return wait_until(lambda: arrived(receiver).get(token), "a packet", within=WITHIN)


@pytest.fixture
def udp() -> Iterator[Udp]:
    """Opens sockets that are closed with the test."""
    with ExitStack() as stack:

        def make(host: LabHost, address: str = "", port: int = 0) -> socket.socket:
            return stack.enter_context(udp_socket(host, IPV4, address, port))

        yield make


def pair(lab: Lab, profile: Profile, udp: Udp) -> Pair:
    server, device = lab.server("server"), lab.device("alice", profile)
    return Pair(server, udp(server, server.address, PORT), device, udp(device))


def flows(host: LabHost) -> str:
    return "".join(router.namespace.conntrack("-L", "-p", "udp") for router in host.routers)


@pytest.mark.parametrize("profile", [profiles.FULL_CONE, profiles.HOME], ids=lambda profile: profile.name)
def test_a_mapping_that_is_idle_is_forgotten(lab: Lab, udp: Udp, profile: Profile):
    nat = profile.routers[0].nat
    assert nat is not None
    short = dataclasses.replace(nat, timeout=2)
    p = pair(lab, dataclasses.replace(profile, routers=(profiles.Gateway(short),)), udp)
    before = p.seen()
    assert p.reached_at(before, through=before)
    wait_until(lambda: "udp" not in flows(p.device), "the router to forget the flow", within=WITHIN)
    p.at.sendto(b"too late", before)
    p.device.routers[0].change(nat=nat)  # a new mapping, to be sure that the packet had its chance
    now = p.seen()
    p.at.sendto(b"in time", now)
    got: dict[bytes, Address] = {}
    wait_until(lambda: got.update(arrived(p.client)) or b"in time" in got, "an answer", within=WITHIN)
    assert set(got) == {b"in time"}


@named
def test_a_router_that_forgets_gives_another_port(lab: Lab, udp: Udp, profile: Profile):
    p = pair(lab, profile, udp)
    before = p.seen()
    for router in p.device.routers:
        router.forget_mappings()
    after = p.seen()
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert not p.reached_at(before, through=after)


@named
def test_a_router_with_a_new_address_uses_it_at_once(lab: Lab, udp: Udp, profile: Profile):
    p = pair(lab, profile, udp)
    before = p.seen()
    address = lab.public_address()
    p.device.routers[-1].renumber(address)
    after = p.seen()
    assert after[0] == address != before[0]
    assert p.reached_at(after, through=after)
    assert not p.reached_at(before, through=after)


def test_a_blocked_port_is_silent_until_it_is_unblocked(lab: Lab):
    device = lab.device("alice", profiles.HOME)
    router = device.routers[0]
    with (
        Reflector(lab.server("reflector", addresses=2), IPV4) as reflector,
        udp_socket(device, IPV4) as client,
    ):
        at = [(reflector.first, 3478), (reflector.first, 3479)]
        assert set(reflector.arrivals(client, at)) == set(at)
        router.block("udp", 3478)
        assert set(reflector.arrivals(client, at)) == {at[1]}
        router.unblock("udp", 3478)
        assert set(reflector.arrivals(client, at)) == set(at)
        with pytest.raises(KeyError):
            router.unblock("udp", 3478)


def neighbours(lab: Lab, profile: Profile) -> tuple[LabHost, LabHost]:
    alice = lab.device("alice", profile)
    return alice, lab.device("bob", behind=alice.routers[0])


@pytest.mark.parametrize("mapping", [INDEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT])
@pytest.mark.parametrize("filtering", list(Dependence))
def test_hairpin(lab: Lab, udp: Udp, mapping: Dependence, filtering: Dependence):
    alice, bob = neighbours(lab, profiles.HAIRPIN)
    alice.routers[0].change(nat=Nat(mapping, filtering, hairpin=True))
    server = lab.server("server")
    at, one, other = udp(server, server.address, PORT), udp(alice), udp(bob)
    mapped = deliver(one, at.getsockname(), at)
    others = deliver(other, at.getsockname(), at)
    source = deliver(other, mapped, one)
    assert source[0] == alice.routers[0].address
    if mapping is INDEPENDENT:
        assert source == others
    assert deliver(one, source, other) == mapped


def test_without_hairpin_neighbours_meet_only_inside(lab: Lab, udp: Udp):
    alice, bob = neighbours(lab, profiles.HOME)
    server = lab.server("server")
    at, one, other = udp(server, server.address, PORT), udp(alice), udp(bob)
    mapped = deliver(one, at.getsockname(), at)
    other.sendto(b"by the outer address", mapped)
    token = secrets.token_bytes(8)
    other.sendto(token, (alice.address, one.getsockname()[1]))
    got: dict[bytes, Address] = {}
    wait_until(lambda: got.update(arrived(one)) or token in got, "a packet from inside", within=WITHIN)
    assert set(got) == {token}


def test_two_homes_of_one_carrier_need_its_hairpin(lab: Lab):
    alice = lab.device("alice", profiles.CARRIER)
    carrier = alice.routers[1]
    bob = lab.device("bob", profiles.HOME, behind=carrier)
    assert carrier.address.startswith("5.9.")
    assert bob.routers[0].address.startswith("100.64.")
    with Reflector(lab.server("reflector", addresses=2), IPV4) as reflector:
        assert punch(reflector, {"homes": [alice, bob]}) == {("homes", "homes"): False}
        carrier.change(nat=Nat(INDEPENDENT, INDEPENDENT, hairpin=True))
        assert punch(reflector, {"homes": [alice, bob]}) == {("homes", "homes"): True}


def test_from_wifi_to_mobile(lab: Lab, udp: Udp):
    p = pair(lab, profiles.HOME, udp)
    old, before = p.device.address, p.seen()
    lab.move(p.device, profiles.MOBILE)
    assert p.device.address != old
    assert p.device.profile == profiles.MOBILE
    assert len(p.device.routers) == 2
    assert p.seen()[0] == p.device.routers[1].address != before[0]
    lab.move(p.device)
    assert p.seen()[0] == p.device.address
    assert not p.device.routers


def test_an_interface_that_is_switched_off_and_on(lab: Lab, udp: Udp):
    p = pair(lab, profiles.DUAL_STACK, udp)
    before = p.seen()
    p.device.link_down()
    with pytest.raises(OSError) as caught:
        p.client.sendto(b"nowhere", p.at.getsockname())
    assert caught.value.errno == errno.ENETUNREACH
    p.device.link_up()
    assert p.seen() == before
    with p.device.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        six.sendto(b"", (p.server.addresses[1], PORT))  # there is a route


def global_addresses(host: LabHost) -> list[str]:
    process = host.popen(["ip", "-o", "address", "show", "scope", "global"], stdout=-1, text=True)
    lines = str(process.communicate()[0]).splitlines()
    return [line.split()[3].partition("/")[0] for line in lines]


@pytest.mark.parametrize("profile", profiles.ALL, ids=lambda profile: profile.name)
def test_a_device_has_one_address_of_each_family(lab: Lab, profile: Profile):
    """A second one that leads nowhere costs ICE five seconds."""
    device = lab.device("alice", profile)
    families = [(family is not None) for family in (profile.ipv4, profile.ipv6)]
    assert ["." in each for each in device.addresses] == [True] * families[0] + [False] * families[1]
    assert sorted(global_addresses(device)) == sorted(device.addresses)
    lab.move(device, profile)
    assert sorted(global_addresses(device)) == sorted(device.addresses)
