"""DONT-FRAGMENT (RFC 8656, section 15): what does not fit the link is lost, and fragmented without that attribute."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import fcntl, json, socket, struct
control = socket.socket()
for request, value in ((0x8922, struct.pack("16sI12x", b"lo", 1280)), (0x8914, struct.pack("16sH14x", b"lo", 1))):
    fcntl.ioctl(control, request, value)  # SIOCSIFMTU; SIOCSIFFLAGS: IFF_UP

from reference_server.turn.sockets.epoll import EpollLoop
from reference_server.turn.sockets.udp import RelaySocket, address_of
from reference_server.turn.stun import Address

loop = EpollLoop(after=lambda: None)
found = []
for host in ("127.0.0.1", "::1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    peer = socket.socket(family, socket.SOCK_DGRAM)
    peer.bind((host, 0))
    peer.settimeout(10)
    to = address_of(peer.getsockname())
    relay = RelaySocket(loop, Address(host, 0), Address(host, 1), lambda *_: None)
    for send, size in ((relay.send_whole, 1300), (relay.send_whole, 1200), (relay.send, 1300)):
        sent = send(bytes(size), to)
        found.append([sent, len(peer.recv(2000)) if sent else 0])
print(json.dumps(found))
"""


def test_a_datagram_that_does_not_fit_is_lost_and_the_next_one_is_fragmented_again():
    words = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", PROGRAM]
    try:
        ended = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("unshare: apt-get install util-linux")
    if "unshare" in ended.stderr:
        pytest.skip(f"no namespace here: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stderr
    each_family = [[False, 0], [True, 1200], [True, 1300]]
    assert json.loads(ended.stdout) == each_family * 2
