"""A thousand clients at once, some of them hostile: all others are reachable, and the relay's memory stays bounded."""

import contextlib
import resource
from pathlib import Path

import pytest

from tests.reference_server.iroh_relay.support import Node, Peer, PeerV1, frame, packet
from tests.reference_server.iroh_relay.test_process import QUIET, port_of, started

CLIENTS = 1000
HOSTILE = 100
BYTES_PER_CLIENT = 64 * 1024
"""Measured: 8 kB for a client of generation 0.35, 10 kB for one of `iroh-relay-v2`."""
CE = b"\x03"


@pytest.fixture(autouse=True)
def many_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_of(pid):
    """Resident bytes (proc(5), status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def garbage(number):
    """Different ways to be wrong, after a good log-in."""
    return [
        b"\xff" * 200,
        frame(250),
        b"\x04\xff\xff\xff\xff" + bytes(100),
        frame(4, bytes(10)),
    ][number % 4]


def test_a_thousand_clients_reach_each_other(tmp_path):
    text = 'http_bind_addr = "127.0.0.1:0"\n' + QUIET
    text += f"[reference_server]\nmax_connections = {CLIENTS}\nping_interval = 600\n"
    nodes = [Node.random() for _ in range(CLIENTS)]
    with started(tmp_path, text) as (process, endpoints), contextlib.ExitStack() as stack:
        port, before = port_of(endpoints), memory_of(process.pid)
        peers = []
        for number, node in enumerate(nodes):
            kind = PeerV1 if number % 2 else Peer
            peers.append(stack.enter_context(kind(port)).log_in(node))
        assert memory_of(process.pid) - before < CLIENTS * BYTES_PER_CLIENT
        with Peer(port) as one_too_many:
            assert one_too_many.read_to_end() == b""

        for number, peer in enumerate(peers[:HOSTILE]):
            peer.sock.sendall(garbage(number))
        for peer in peers[:HOSTILE]:
            peer.read_to_end()

        good = list(zip(nodes, peers, strict=True))[HOSTILE:]
        # Neighbours of the same generation are two places apart.
        for (node, peer), (other, receiver) in zip(good, good[2:], strict=False):
            if isinstance(peer, PeerV1):
                peer.send(frame(4, other.key + CE + b"hello"))
                assert receiver.read_frame() == (6, node.key + CE + b"hello")
            else:
                peer.sock.sendall(packet(other.key, b"hello"))
                assert receiver.read_frame() == (5, node.key + b"hello")
        for peer in peers[:HOSTILE]:
            peer.sock.close()
        with Peer(port) as newcomer:
            newcomer.log_in(Node.random())
