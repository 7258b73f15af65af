"""A cut link: two hosts lose each other, and nobody else loses anybody."""

import socket

from harness.hosts import Host
from harness.network import profiles
from harness.network.lab import Lab, LabHost
from harness.waiting import wait_until

PORT = 4000


def hears(sender: Host, receiver: LabHost, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        receiver.socket(family, socket.SOCK_DGRAM) as listening,
        sender.socket(family, socket.SOCK_DGRAM) as sending,
    ):
        listening.bind((address, PORT))
        listening.settimeout(0.2)
        sending.sendto(b"hello", (address, PORT))
        try:
            return bool(listening.recv(10))
        except TimeoutError:
            return False


def test_a_cut_parts_two_hosts_and_nobody_else(lab: Lab):
    alice = lab.device("alice", profiles.HOME)
    bob, carol = (lab.server(name) for name in ("bob", "carol"))
    wait_until(lambda: hears(alice, bob, bob.address), "the way to bob", within=10)
    lab.cut(alice, bob)
    assert not hears(alice, bob, bob.address)
    assert hears(alice, carol, carol.address)
    assert hears(carol, bob, bob.address)
    lab.cut(bob, carol)
    assert not hears(carol, bob, bob.addresses[1])
    lab.mend(alice, bob)
    assert hears(alice, bob, bob.address)
    assert not hears(bob, carol, carol.address)
