"""What a TURN service is told at start, and its numbers for "too much" and "too long"."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from reference_server.service import ConfigurationError

from .stun import Address, AddressFamily

__all__ = ["Limits", "Listen", "PortRange", "Transport", "TurnSettings"]

MAX_REALM = 100
"""Bytes; keeps a 401 below 160."""


class Transport(StrEnum):
    """Between client and server. Relays are always UDP."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class Listen(NamedTuple):
    """One listener, written `udp://127.0.0.1:3478`."""

    transport: Transport
    address: Address

    def __str__(self) -> str:
        return f"{self.transport}://{self.address}"

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Raises `ConfigurationError` for what is not SCHEME://ADDRESS:PORT."""
        found = re.fullmatch(r"(udp|tcp|tls)://(?:\[([^\]]+)\]|([^:\[\]]+)):(\d{1,5})", text)
        try:
            if found is None:
                raise ValueError
            host = str(ipaddress.ip_address(found[2] or found[3]))
            port = int(found[4])
        except ValueError:
            port = -1
        if found is None or not 0 <= port <= 65535:
            raise ConfigurationError(
                f"{text} is no listener such as udp://127.0.0.1:3478 or tls://[::1]:5349"
            )
        return cls(Transport(found[1]), Address(host, port))


class PortRange(NamedTuple):
    """Ports of relays, both ends included."""

    first: int = 49152
    last: int = 65535

    @classmethod
    def parse(cls, text: str) -> PortRange:
        """From `FIRST-LAST`. Raises `ConfigurationError`."""
        first, _, last = text.partition("-")
        if first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65535:
            return cls(int(first), int(last))
        raise ConfigurationError(f"{text} is no range of relay ports such as 49152-65535, from 1024 up")


@dataclass(frozen=True)
class Limits:
    """Counts, bytes and seconds. Sources count first: everybody who read METADATA in one second shares a user name.

    A source is an IPv4 address or an IPv6 /64.
    """

    allocations: int = 4096
    allocations_per_source: int = 256
    allocations_per_username: int = 2048
    permissions: int = 128
    """Per allocation, as `channels`."""
    channels: int = 128
    peers_remembered: int = 256
    """Per allocation in the ledger; peers beyond share one entry."""
    unauthenticated_burst: int = 300
    """Replies over UDP that one source gets without having proven its address."""
    unauthenticated_per_second: float = 50.0
    sources_remembered: int = 4096
    connections: int = 4096
    connections_per_source: int = 512
    half_open: float = 30.0
    """For TCP and TLS: from accept to an allocation, and from the end of one to the next."""
    write_queue: int = 256 * 1024
    """Bytes that a TCP client leaves unread before what comes next is dropped."""


@dataclass(frozen=True)
class TurnSettings:
    """One TURN service. Times are seconds; port 0 of a listener lets the system choose."""

    listeners: tuple[Listen, ...]
    realm: str
    relay_ips: Mapping[AddressFamily, str] = field(default_factory=dict)
    """The address that clients are told, by its family; unset: the listener's."""
    relay_ports: PortRange = field(default_factory=PortRange)
    default_lifetime: float = 600.0
    max_lifetime: float = 3600.0
    permission_lifetime: float = 300.0
    channel_lifetime: float = 600.0
    strict_permissions: bool = False
    """True: RFC 8656 to the letter, data of a channel stops when its permission is 300 s old. False, as coturn and
    pion: a living channel implies a permission (aioice refreshes channels every 500 s and permissions never)."""
    reservation_lifetime: float = 30.0
    port_rest: float = 60.0
    """How long a relay port that was freed is given to nobody, while there are others."""
    nonce_lifetime: float = 3600.0
    sign_errors: bool = True
    """Errors after authentication carry MESSAGE-INTEGRITY. aioice ignores those that do not."""
    outlive_credentials: bool = True
    """A running allocation goes on when its credentials have expired, as coturn's do; others ask at each request."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.listeners:
            raise ConfigurationError(
                "TURN has nothing to listen on; name a listener such as udp://127.0.0.1:3478"
            )
        if not self.realm or len(self.realm.encode()) > MAX_REALM or not self.realm.isprintable():
            raise ConfigurationError(f"a realm is 1 to {MAX_REALM} printable bytes, such as a domain name")

    def relay_host(self, family: AddressFamily) -> str | None:
        """The address that relays of `family` are told to have; None when the server has none."""
        if family in self.relay_ips:
            return self.relay_ips[family]
        hosts = [listen.address.host for listen in self.listeners if listen.address.family == family]
        return hosts[0] if hosts else None
