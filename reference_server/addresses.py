"""Which address and ports one server takes, and the lock that keeps parallel servers apart.

iroh 0.35 asks UDP port 3478 of the relay's host and no other, so every server needs an address of its own.
Holding that port is the lock: whoever could bind it owns the address.
"""

from __future__ import annotations

import errno
import random
import socket
from dataclasses import dataclass, fields, replace

from .service import ConfigurationError

__all__ = [
    "DEFAULT_PORTS",
    "STANDARD_PORTS",
    "STUN_PORT",
    "TURNS_PORT",
    "Ports",
    "claim_any_address",
    "claim_address",
    "free_ports",
    "is_unspecified",
    "without_mapping",
]

STUN_PORT = 3478
"""Also the port of TURN over UDP and TCP."""
TURNS_PORT = 5349
MAPPED = "::ffff:"
"""What stands before an IPv4 address on a socket of both families (RFC 4291, 2.5.5.2)."""


@dataclass(frozen=True)
class Ports:
    """TCP ports, named as IANA names the services."""

    imaps: int
    imap: int
    submissions: int
    submission: int
    https: int
    iroh_relay: int


DEFAULT_PORTS = Ports(imaps=2993, imap=2143, submissions=2465, submission=2587, https=2443, iroh_relay=3340)
STANDARD_PORTS = replace(DEFAULT_PORTS, imaps=993, imap=143, submissions=465, submission=587, https=443)


def is_unspecified(host: str) -> bool:
    """Whether it stands for every address."""
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not listened on


def without_mapping(address: str) -> str:
    """The address of a client as it knows it itself: an IPv4 address, where an IPv6 one only wraps it."""
    inner = address.removeprefix(MAPPED)
    return inner if "." in inner and ":" not in inner else address


def claim_address(host: str) -> socket.socket:
    """Bind UDP 3478 of `host`; the server owns the address as long as the socket lives."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    claim = socket.socket(family, socket.SOCK_DGRAM)
    try:
        claim.bind((host, STUN_PORT))
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(f"cannot use the address {host}: {error.strerror}") from error
        raise ConfigurationError(
            f"UDP port {STUN_PORT} of {host} is in use: another server lives there. "
            f"Stop it, or choose another address with --host (127.0.0.2, say)"
        ) from error
    return claim


def claim_any_address() -> tuple[str, socket.socket]:
    """Own a loopback address that no other server has. Returns the address and its claim."""
    for _attempt in range(50):
        host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"  # noqa: S311
        try:
            return host, claim_address(host)
        except ConfigurationError:
            continue
    raise ConfigurationError("found no free loopback address in 50 tries; choose one with --host")


def free_ports(host: str) -> Ports:
    """Free TCP ports of an address that the caller has claimed (nobody else takes them meanwhile)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets = {field.name: socket.socket(family, socket.SOCK_STREAM) for field in fields(Ports)}
    try:
        for listener in sockets.values():
            listener.bind((host, 0))
        return Ports(**{name: listener.getsockname()[1] for name, listener in sockets.items()})
    finally:
        for listener in sockets.values():
            listener.close()
