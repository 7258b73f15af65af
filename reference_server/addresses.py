"""Address and ports of one server, and the lock that keeps parallel servers apart.

iroh 0.35 asks UDP port 3478 of the relay's host and no other, so every server needs an address of its own.
Holding that port is the lock: whoever could bind it owns the address. A server that leaves the port to a TURN server
of somebody else still holds the address that it chose itself, by a name that no other program has.
"""

from __future__ import annotations

import errno
import ipaddress
import random
import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace

from .errors import ConfigurationError

__all__ = [
    "DEFAULT_PORTS",
    "STANDARD_PORTS",
    "STUN_PORT",
    "TURNS_PORT",
    "Claim",
    "Ports",
    "bracketed",
    "check_bind_address",
    "claim_address",
    "claim_any_address",
    "free_ports",
    "is_unspecified",
    "without_mapping",
]

STUN_PORT = 3478
"""Also the port of TURN over UDP and TCP."""
TURNS_PORT = 5349
GIVEN_TO_NOBODY = range(10_000, 32_768)
"""Ports below those that the kernel gives to whoever asks for any, at one address or at all (ip_local_port_range)."""
MAPPED = "::ffff:"
"""The prefix of an IPv4 address on a socket of both families (RFC 4291, 2.5.5.2)."""


@dataclass(frozen=True)
class Ports:
    """TCP ports, named as IANA names the services."""

    imaps: int
    imap: int
    submissions: int
    submission: int
    https: int
    smtp: int
    iroh_relay: int


DEFAULT_PORTS = Ports(
    imaps=2993, imap=2143, submissions=2465, submission=2587, https=2443, smtp=2025, iroh_relay=3340
)
STANDARD_PORTS = replace(
    DEFAULT_PORTS, imaps=993, imap=143, submissions=465, submission=587, https=443, smtp=25
)


def is_unspecified(host: str) -> bool:
    """True for what stands for every address."""
    return host in ("", "0.0.0.0", "::")  # noqa: S104 - compared, not listened on


def without_mapping(address: str) -> str:
    """The address of a client as it knows it itself: an IPv4 address, where an IPv6 one only wraps it."""
    inner = address.removeprefix(MAPPED)
    return inner if "." in inner and ":" not in inner else address


def bracketed(host: str) -> str:
    """The host as it stands before a colon and a port."""
    return f"[{host}]" if ":" in host else host


def check_bind_address(host: str, *, public: bool) -> None:
    """Refuse an address that the whole internet could reach, unless the operator asked for it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigurationError(f"{host} is not an IP address to listen on, such as 127.0.0.1") from None
    if public or address.is_loopback or (address.is_private and not address.is_unspecified):
        return
    raise ConfigurationError(
        f"this is a test server: it creates accounts for everybody. "
        f"It does not listen on {host}, which others may reach, unless you start it with --public"
    )


class Claim:
    """An address that a server owns until `close`: its UDP 3478, or its name alone, or both."""

    def __init__(self, *, stun: socket.socket | None, name: socket.socket | None) -> None:
        self._stun = stun
        self._name = name

    @property
    def stun(self) -> socket.socket:
        """The bound socket, for the service that answers STUN there."""
        assert self._stun is not None
        return self._stun

    def leave_stun(self) -> None:
        """Leave UDP 3478 to another program, which may come at any time."""
        if self._stun is not None:
            self._stun.close()
            self._stun = None

    def close(self) -> None:
        self.leave_stun()
        if self._name is not None:
            self._name.close()

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def claim_address(host: str) -> Claim:
    """Own an address by its UDP 3478. Raises `ConfigurationError` when another program has the port."""
    return Claim(stun=_bind_stun(host), name=None)


def _bind_stun(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    stun = socket.socket(family, socket.SOCK_DGRAM)
    try:
        stun.bind((host, STUN_PORT))
    except OSError as error:
        stun.close()
        if error.errno != errno.EADDRINUSE:
            raise ConfigurationError(f"cannot use the address {host}: {error.strerror}") from error
        raise ConfigurationError(
            f"UDP port {STUN_PORT} of {host} is in use: another server lives there. "
            f"Stop it, or choose another address with --host (127.0.0.2, say)"
        ) from error
    return stun


def _bind_name(host: str) -> socket.socket | None:
    """A socket with the address for a name, in this network namespace; None when another server has it."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0dc-server-{host}")  # abstract: it is gone with the last process that holds it
    except OSError:
        name.close()
        return None
    return name


def claim_any_address() -> tuple[str, Claim]:
    """Own a loopback address that no other server has, with its UDP 3478 and its name."""
    for _attempt in range(50):
        host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"  # noqa: S311
        name = _bind_name(host)
        if name is None:
            continue
        try:
            return host, Claim(stun=_bind_stun(host), name=name)
        except ConfigurationError:
            name.close()
    raise ConfigurationError("found no free loopback address in 50 tries; choose one with --host")


def free_ports(host: str) -> Ports:
    """Free TCP ports of an address that the caller has claimed: nobody else takes them meanwhile."""
    with ExitStack() as held:
        taken = {field.name: held.enter_context(_bind_any(host)) for field in fields(Ports)}
        return Ports(**{name: listener.getsockname()[1] for name, listener in taken.items()})


def _bind_any(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _attempt in range(50):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.bind((host, secrets.choice(GIVEN_TO_NOBODY)))
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return listener
    raise ConfigurationError(f"found no free port of {host} in 50 tries")
