"""Datagrams of one size in one piece: UDP_GRO to receive them, UDP_SEGMENT to send them (Linux, udp(7)).

The kernel joins and cuts them; what other programs send and get are the same datagrams. It has something to join only
when the sender used UDP_SEGMENT, or a network card did it.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from socket import AF_INET, SOCK_DGRAM, socket

__all__ = ["join_received", "send", "send_one"]

SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
MAX_SEGMENTS = 64
MAX_BYTES = 65_000
"""Below the largest UDP datagram of both address families, for that is what the pieces travel as."""

_SHORT = struct.Struct("H")


def _kernel_can() -> bool:
    with socket(AF_INET, SOCK_DGRAM) as probe:
        try:
            for option in (UDP_GRO, UDP_SEGMENT):
                probe.setsockopt(SOL_UDP, option, 0)
        except OSError:
            return False
    return True


KERNEL_CAN = _kernel_can()


def join_received(receiver: socket) -> bool:
    """From now on the socket is read with `Batch.receive_joined` only. False: this kernel does not join datagrams.

    There is no way back: what is queued already would lose the size of its segments.
    """
    if KERNEL_CAN:
        receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
    return KERNEL_CAN


def send(sender: socket, payloads: Sequence[memoryview], head: bytes = b"") -> int:
    """Send datagrams of one size, each with `head` before it, to the peer of a connected socket.

    Returns how many the kernel did not take.
    """
    size = len(head) + len(payloads[0])
    at_once = min(MAX_SEGMENTS, MAX_BYTES // size) if size and KERNEL_CAN else 1
    refused = 0
    for start in range(0, len(payloads), max(1, at_once)):
        some = payloads[start : start + max(1, at_once)]
        if len(some) > 1:
            parts = [part for payload in some for part in (head, payload)] if head else some
            try:
                sender.sendmsg(parts, [(SOL_UDP, UDP_SEGMENT, _SHORT.pack(size))])
                continue
            except OSError:
                pass  # the device cannot, the path is too narrow for one of them, or an ICMP error came: each alone
        for payload in some:
            refused += not send_one(sender, head, payload)
    return refused


def send_one(sender: socket, *parts: bytes | memoryview) -> bool:
    """Send one datagram to the peer of a connected socket. Returns whether the kernel took it."""
    for _ in range(2):
        try:
            sender.sendmsg(parts)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                return False  # else it may be an ICMP answer to something earlier, and is gone now
        else:
            return True
    return False
