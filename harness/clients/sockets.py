"""The TCP connections of a process, from the kernel: they tie a server's counters to a client without asking either.

Reads /proc of this machine, so it works for every process of ours, whichever network namespace it lives in.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TcpConnection", "parse_proc_net_tcp", "tcp_connections"]

LISTEN = "0A"
SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")
WORD = 4


@dataclass(frozen=True)
class TcpConnection:
    """Both ends as `address:port`, IPv6 as `[address]:port`; an IPv4 address in an IPv6 socket is written as IPv4."""

    local: str
    remote: str

    @property
    def remote_address(self) -> str:
        return self.remote.rpartition(":")[0].strip("[]")


def tcp_connections(pid: int) -> set[TcpConnection]:
    """Every TCP connection that the process has now; empty when the process is gone."""
    inodes = set(_socket_inodes(pid))
    connections = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = Path(f"/proc/{pid}/net/{table}").read_text()
            connections |= {each for inode, each in parse_proc_net_tcp(text) if inode in inodes}
    return connections


def parse_proc_net_tcp(text: str) -> Iterator[tuple[int, TcpConnection]]:
    """Socket inode and ends of each connection in /proc/PID/net/tcp or tcp6; listeners are left out."""
    for line in text.splitlines()[1:]:
        _slot, local, remote, state, *_rest = fields = line.split()
        if state != LISTEN:
            yield int(fields[9]), TcpConnection(_end(local), _end(remote))


def _socket_inodes(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed since it was listed
                if link := SOCKET_LINK.fullmatch(str(entry.readlink())):
                    yield int(link[1])


def _end(text: str) -> str:
    """`0100007F:1F90` is 127.0.0.1:8080: 32-bit words in the byte order of the machine, and a plain port."""
    words, _, port = text.partition(":")
    data = bytes.fromhex(words)
    packed = b"".join(
        int.from_bytes(data[at : at + WORD], "little").to_bytes(WORD, "big")
        for at in range(0, len(data), WORD)
    )
    address = ipaddress.ip_address(packed)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return f"[{address}]:{int(port, 16)}"
        address = address.ipv4_mapped
    return f"{address}:{int(port, 16)}"
