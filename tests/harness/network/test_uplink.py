"""The way out of a lab: what gets out and back in, and what does not."""

from __future__ import annotations

import socket
import threading

import pytest
from pyroute2 import IPRoute

from harness.evidence.edges import Edges
from harness.network import profiles
from harness.network.lab import Lab
from harness.network.names import Refusal
from harness.network.uplink import Uplink, WayOut
from harness.waiting import wait_until

WITHIN = 10.0
UDP = (socket.AF_INET, socket.SOCK_DGRAM)


@pytest.fixture
def world():
    with Lab() as network:
        yield network


@pytest.fixture
def machine(world):
    machine = world.server("this machine")
    machine.namespace.sysctl({"net/ipv4/ip_forward": 1})
    return machine


@pytest.fixture
def server(world):
    return world.server("server")


@pytest.fixture
def lab(machine, server):
    way_out = WayOut(Uplink(machine, machine.namespace), frozenset({server.address}), machine.address)
    with Lab(way_out) as lab:
        yield lab


def test_a_device_reaches_the_server_which_sees_the_machine(lab, machine, server):
    alice = lab.device("alice", profiles.HOME)
    with server.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((server.address, 993))
        listener.listen()
        with alice.connect(server.address, 993, within=WITHIN) as connection:
            accepted, (seen, _port) = listener.accept()
            accepted.sendall(b"* OK")
            assert connection.recv(10) == b"* OK"
            accepted.close()
    assert seen == machine.address


def add_to_loopback(addresses):
    with IPRoute() as netlink:
        for each in addresses:
            netlink.addr("add", index=1, address=each, prefixlen=32)


def test_nothing_else_leaves_and_nothing_leaves_in_its_own_name(lab, world, machine, server):
    """Also where a device makes up its source address, or means a private address that somebody outside might have."""
    alice = lab.device("alice", profiles.PUBLIC)
    made_up = ("198.18.200.1", "5.9.200.1")
    alice.namespace.call(add_to_loopback, made_up)
    stranger = world.server("stranger")
    with Edges([machine]) as edges:
        for source in (alice.address, *made_up):
            with alice.socket(*UDP) as sender:
                sender.bind((source, 0))
                for destination in (server.address, stranger.address, "10.77.0.1", machine.link.addresses[0]):
                    sender.sendto(b"hello", (destination, 4000))
        wait_until(lambda: edges.now()["this machine"].tx.rows, "a packet to the server", within=WITHIN)
        edges.settle(within=WITHIN)
        rows = edges.now()["this machine"].tx.rows
        went = [flow for flow in rows if not flow.source.address.startswith("fe80:")]  # the kernel's own
    assert {flow.source.address for flow in went} == {machine.address}
    assert {flow.destination.address for flow in went} == {server.address}


def test_nobody_outside_begins(lab, machine, server):
    alice = lab.device("alice", profiles.FULL_CONE)
    with alice.socket(*UDP) as inside, server.socket(*UDP) as outside:
        outside.bind((server.address, 4000))
        outside.settimeout(WITHIN)
        inside.settimeout(0.5)
        inside.sendto(b"hello", (server.address, 4000))
        _data, mapped = outside.recvfrom(10)
        outside.sendto(b"answer", mapped)
        assert inside.recv(10) == b"answer"
        with server.socket(*UDP) as another:
            another.sendto(b"unasked", mapped)
            with pytest.raises(TimeoutError):
                inside.recv(10)


def test_two_devices_find_each_other_by_what_the_server_says(lab, machine, server):
    hosts = [lab.device("alice", profiles.HOME), lab.device("bob", profiles.HOME)]
    with server.socket(*UDP) as outside, hosts[0].socket(*UDP) as one, hosts[1].socket(*UDP) as other:
        outside.bind((server.address, 3478))
        outside.settimeout(WITHIN)
        mapped = []
        for device in (one, other):
            device.settimeout(WITHIN)
            device.sendto(b"who am I", (server.address, 3478))
            mapped.append(outside.recvfrom(100)[1])
        assert {address for address, _port in mapped} == {machine.address}
        one.sendto(b"open", mapped[1])
        other.sendto(b"hello", mapped[0])
        assert one.recvfrom(100) == (b"hello", mapped[1])


def test_names_of_the_outside_are_found_and_recorded(lab, world, server):
    world.names.set("mail.example", server.address, "2a01:4f8:9::9")
    world.names.fail("broken.example", Refusal.SERVFAIL)
    alice = lab.device("alice", profiles.HOME)
    assert alice.resolve("mail.example") == (server.address,)
    with pytest.raises(socket.gaierror, match="NXDOMAIN"):
        alice.resolve("nowhere.example")
    with pytest.raises(socket.gaierror, match="SERVFAIL"):
        alice.resolve("broken.example")
    asked = {each.name: each.known for each in lab.names.queries}
    assert asked == dict.fromkeys(("mail.example", "nowhere.example", "broken.example"), False)


def test_names_of_the_lab_come_first(lab, world):
    world.names.set("mail.example", "5.9.7.7")
    lab.names.set("mail.example", "198.18.0.77")
    assert lab.device("alice", profiles.HOME).resolve("mail.example") == ("198.18.0.77",)


@pytest.mark.parametrize("profile", [profiles.PUBLIC, profiles.HOME, profiles.UDP_BLOCKED_PUBLIC], ids=str)
def test_public_addresses_are_those_that_no_host_has(lab, profile):
    device = lab.device("alice", profile)
    outer = [device.address, *(router.address for router in device.routers)]
    assert all(each.startswith(("198.18.", "198.19.", "10.")) for each in outer)


def test_the_machine_is_as_it_was_when_the_lab_ends(machine, server):
    def rules() -> str:
        return str(machine.namespace.nft_json("list", "ruleset"))

    before, links = rules(), machine.namespace.call(socket.if_nameindex)
    way_out = WayOut(Uplink(machine, machine.namespace), frozenset({server.address}), machine.address)
    with Lab(way_out):
        assert "masquerade" in rules()
    wait_until(lambda: rules() == before, "the rules to be gone", within=WITHIN)
    wait_until(lambda: machine.namespace.call(socket.if_nameindex) == links, "the link too", within=WITHIN)


def test_two_labs_have_an_uplink_at_the_same_time(machine, server):
    way_out = WayOut(Uplink(machine, machine.namespace), frozenset({server.address}), machine.address)
    with server.socket(*UDP) as outside, Lab(way_out) as one, Lab(way_out) as other:
        outside.bind((server.address, 4000))
        outside.settimeout(WITHIN)
        echo = threading.Thread(target=lambda: [outside.sendto(*outside.recvfrom(100)) for _ in range(2)])
        echo.start()
        for lab in (one, other):
            with lab.device("alice", profiles.HOME).socket(*UDP) as device:
                device.settimeout(WITHIN)
                device.sendto(b"hello", (server.address, 4000))
                assert device.recv(100) == b"hello"
        echo.join()


def test_a_server_that_a_lab_cannot_tell_from_its_own_is_refused(machine):
    uplink = Uplink(machine, machine.namespace)
    for servers, reason in (
        (set(), "no IPv4 address"),
        ({"198.18.0.9"}, "one that labs have inside"),
        ({machine.address}, "this machine itself"),
    ):
        with pytest.raises(ValueError, match=reason):
            WayOut(uplink, frozenset(servers), machine.address)
