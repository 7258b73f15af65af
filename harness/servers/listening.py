"""Sockets on which processes listen, as the kernel knows them: for a server that is found nowhere."""

from __future__ import annotations

import contextlib
import ipaddress
import struct
from collections.abc import Iterable
from pathlib import Path

__all__ = ["listeners"]

TCP_LISTEN = "0A"
UDP_UNCONNECTED = "07"
TABLES = {"tcp": TCP_LISTEN, "tcp6": TCP_LISTEN, "udp": UDP_UNCONNECTED, "udp6": UDP_UNCONNECTED}


def listeners(processes: Iterable[int]) -> list[str]:
    """`TCP 127.0.0.1:80` and the like, of all these processes, sorted (proc(5), /proc/PID/net/tcp)."""
    found = set()
    for process in processes:
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            own = _sockets(process)
            for table, listening in TABLES.items():
                for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
                    words = line.split()
                    if words[3] == listening and words[9] in own:
                        found.add(f"{table[:3].upper()} {_address(words[1])}")
    return sorted(found)


def _sockets(process: int) -> set[str]:
    """Inodes of its open sockets."""
    found = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            kind, _, inode = str(descriptor.readlink()).partition(":[")
            if kind == "socket":
                found.add(inode.rstrip("]"))
    return found


def _address(text: str) -> str:
    """From `0100007F:0050`: words of 32 bits in the byte order of this machine, and the port."""
    number, _, port = text.partition(":")
    words = [int(number[at : at + 8], 16) for at in range(0, len(number), 8)]
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    return f"[{address}]:{int(port, 16)}" if address.version == 6 else f"{address}:{int(port, 16)}"
