"""Messages of nfnetlink_queue, by which the kernel asks a program what becomes of a packet.

Bytes in, bytes out; numbers and structures are those of linux/netfilter/nfnetlink_queue.h. Of a packet only its
metadata is asked for: the payload never leaves the kernel.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Acknowledgement", "QueuedPacket", "bind_request", "limit_request", "parse", "verdict_request"]

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port: struct nlmsghdr
FAMILY = struct.Struct(">BBH")  # family, version, queue: struct nfgenmsg
ATTRIBUTE = struct.Struct("=HH")  # length, type

NLMSG_ERROR = 2
NLM_F_REQUEST, NLM_F_ACK = 0x01, 0x04
NFNL_SUBSYS_QUEUE = 3 << 8
MSG_PACKET, MSG_VERDICT, MSG_CONFIG = (NFNL_SUBSYS_QUEUE | each for each in range(3))
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN = 1, 2, 3
CMD_BIND = 1
COPY_META = 1
PACKET_HDR, VERDICT_HDR, IFINDEX_INDEV = 1, 2, 5
NF_DROP, NF_ACCEPT = 0, 1


@dataclass(frozen=True)
class QueuedPacket:
    """A packet that waits for a verdict."""

    number: int
    came_in_by: int
    """Index of the interface."""


@dataclass(frozen=True)
class Acknowledgement:
    """Netlink acknowledgement of a request: number 0, or that of the error for which the kernel did not do it."""

    number: int


def bind_request(queue: int) -> bytes:
    """Make this socket the one that decides on the packets of a queue. Acknowledged."""
    return _config(queue, CFG_CMD, struct.pack(">BBH", CMD_BIND, 0, socket.AF_UNSPEC)) + _config(
        queue, CFG_PARAMS, struct.pack(">IB", 0, COPY_META)
    )


def limit_request(queue: int, packets: int) -> bytes:
    """Limit the packets that wait for a verdict; the kernel drops what comes beyond. Acknowledged."""
    return _config(queue, CFG_QUEUE_MAXLEN, struct.pack(">I", packets))


def verdict_request(queue: int, packet: int, *, accept: bool) -> bytes:
    verdict = struct.pack(">II", NF_ACCEPT if accept else NF_DROP, packet)
    return _message(MSG_VERDICT, NLM_F_REQUEST, queue, _attribute(VERDICT_HDR, verdict))


def parse(datagram: bytes) -> Iterator[QueuedPacket | Acknowledgement]:
    """Messages of the kernel in one datagram. Raises `struct.error` where it is no netlink message."""
    position = 0
    while position < len(datagram):
        length, kind, _flags, _sequence, _port = HEADER.unpack_from(datagram, position)
        body = datagram[position + HEADER.size : position + length]
        if kind == NLMSG_ERROR:
            yield Acknowledgement(-struct.unpack_from("=i", body)[0])
        elif kind == MSG_PACKET:
            attributes = dict(_attributes(body[FAMILY.size :]))
            number: int = struct.unpack_from(">I", attributes[PACKET_HDR])[0]
            came_in_by: int = struct.unpack(">I", attributes[IFINDEX_INDEV])[0]
            yield QueuedPacket(number, came_in_by)
        position += max(_aligned(length), HEADER.size)


def _config(queue: int, attribute: int, value: bytes) -> bytes:
    return _message(MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, queue, _attribute(attribute, value))


def _message(kind: int, flags: int, queue: int, attributes: bytes) -> bytes:
    body = FAMILY.pack(socket.AF_UNSPEC, 0, queue) + attributes
    return HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return (ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value).ljust(
        _aligned(ATTRIBUTE.size + len(value)), b"\0"
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        length, kind = ATTRIBUTE.unpack_from(data, position)
        yield kind, data[position + ATTRIBUTE.size : position + length]
        position += max(_aligned(length), ATTRIBUTE.size)


def _aligned(length: int) -> int:
    return -(-length // 4) * 4
