"""Settings of a TURN service, which are its command line, and its numbers for "too much" and "too long"."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from reference_server.addresses import check_bind_address
from reference_server.errors import ConfigurationError
from reference_server.options import option, options_of, positive_number, positive_seconds
from reference_server.service_settings import ServiceSettings

from .stun import Address, AddressFamily

__all__ = ["Limits", "Listen", "PortRange", "Transport", "TurnSettings"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

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


def _limit(what: str, default: float, *, name: str = "") -> Any:
    """`name`: what the whole server calls it, behind `--turn-`; empty: it does not offer it."""
    return option(
        f"{what} (default: {default:g})",
        default=default,
        metavar="NUMBER" if isinstance(default, int) else "SECONDS",
        read=positive_number if isinstance(default, int) else positive_seconds,
        server=f"--turn-{name}" if name else None,
    )


@dataclass(frozen=True)
class Limits:
    """Counts, bytes and seconds. Sources count first: everybody who read METADATA in one second shares a user name.

    A source is an IPv4 address or an IPv6 /64.
    """

    allocations: int = _limit("allocations at the same time", 4096, name="allocations")
    allocations_per_source: int = _limit("allocations of one source", 256, name="allocations-per-source")
    allocations_per_username: int = _limit(
        "allocations of one user name", 2048, name="allocations-per-username"
    )
    permissions: int = _limit("permissions of an allocation", 128)
    channels: int = _limit("channels of an allocation", 128)
    peers_remembered: int = _limit("peers of an allocation in the ledger; those beyond share one entry", 256)
    unauthenticated_burst: int = _limit(
        "replies over UDP that one source gets without having proven its address", 300
    )
    unauthenticated_per_second: float = _limit("and after these, every second", 50.0)
    sources_remembered: int = _limit("sources that are told apart", 4096)
    connections: int = _limit("TCP and TLS connections at the same time", 4096)
    connections_per_source: int = _limit(
        "TCP and TLS connections of one source", 512, name="connections-per-source"
    )
    half_open: float = _limit(
        "for TCP and TLS: from accept to an allocation, and from the end of one to the next", 30.0
    )
    write_queue: int = _limit(
        "bytes that a TCP client leaves unread before what comes next is dropped", 256 * 1024
    )


def _lifetime(what: str, default: float, server: str) -> Any:
    return option(
        f"lifetime of {what} (default: {default:.0f})",
        default=default,
        metavar="SECONDS",
        read=positive_seconds,
        server=server,
    )


def _relay_ip(text: str) -> tuple[AddressFamily, str]:
    try:
        host = str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigurationError(f"--relay-ip {text} is no IP address") from None
    return AddressFamily.of(host), host


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigurationError(f"--allow-peers {text} is no network: {error}") from None


@dataclass(frozen=True, kw_only=True)
class TurnSettings(ServiceSettings):
    """One TURN service. Times are seconds; port 0 of a listener lets the system choose."""

    listeners: tuple[Listen, ...] = option(
        "udp://, tcp:// or tls:// with ADDRESS:PORT; may be repeated; port 0 for any free one",
        flags=("--listen",),
        metavar="URL",
        read=Listen.parse,
    )
    realm: str = option("the realm of the credentials, such as a domain", metavar="REALM")
    secrets: tuple[str, ...] = option(
        "shared secret; everybody can see it in ps",
        default=(),
        flags=("--secret",),
        metavar="TEXT",
        repr=False,
    )
    secret_files: tuple[Path, ...] = option(
        "shared secrets, one a line", default=(), flags=("--secret-file",), metavar="FILE"
    )
    relay_ips: Mapping[AddressFamily, str] = option(
        "told to clients instead of the listener's address; one of each family",
        default_factory=dict,
        flags=("--relay-ip",),
        metavar="ADDRESS",
        read=_relay_ip,
        gather=dict,
    )
    relay_ports: PortRange = option(
        "of relayed transport addresses (default: 49152-65535)",
        default=PortRange(),
        metavar="FIRST-LAST",
        read=PortRange.parse,
    )
    default_lifetime: float = _lifetime("an allocation", 600.0, "--turn-default-lifetime")
    max_lifetime: float = _lifetime("an allocation at most", 3600.0, "--turn-max-lifetime")
    permission_lifetime: float = _lifetime("a permission", 300.0, "--turn-permission-lifetime")
    channel_lifetime: float = _lifetime("a channel", 600.0, "--turn-channel-lifetime")
    strict_permissions: bool = option(
        "a channel does not keep its permission alive, as RFC 8656 has it to the letter",
        default=False,
        server="--turn-strict-permissions",
    )
    """True: data of a channel stops when its permission is 300 s old. False, as coturn and pion: a living channel
    implies a permission (aioice refreshes channels every 500 s and permissions never)."""
    strict_usernames: bool = option(
        "a user name is an expiry, and nothing else",
        default=False,
        server="--turn-strict-usernames",
    )
    """False: it may be `EXPIRY:NAME` (draft-uberti-behave-turn-rest-00), as coturn, pion and probes have it."""
    strict_channels: bool = option(
        "channel numbers are 0x4000 to 0x4FFF, as RFC 8656 has them",
        default=False,
        server="--turn-strict-channels",
    )
    """False: up to 0x7FFF, as clients of RFC 5766 choose them; coturn and pion take these."""
    allow_peers: tuple[Network, ...] = option(
        "for labs: peers that are refused otherwise", default=(), metavar="CIDR", read=_network
    )
    cert: Path | None = option("PEM chain for tls://", default=None, metavar="FILE")
    key: Path | None = option("PEM key for tls://", default=None, metavar="FILE")
    udp_fd: int | None = option(
        "inherited socket, in place of the udp:// listener of its address", default=None, metavar="N"
    )
    reservation_lifetime: float = 30.0
    port_rest: float = 60.0
    """Seconds for which a relay port that was freed is given to nobody, while there are others."""
    nonce_lifetime: float = 3600.0
    sign_errors: bool = True
    """Errors after authentication carry MESSAGE-INTEGRITY. aioice ignores those that do not."""
    outlive_credentials: bool = True
    """A running allocation goes on when its credentials have expired, as coturn's do; others ask at each request."""
    limits: Limits = options_of(Limits)

    def __post_init__(self) -> None:
        if not self.listeners:
            raise ConfigurationError(
                "TURN has nothing to listen on; name a listener such as udp://127.0.0.1:3478"
            )
        if not self.realm or len(self.realm.encode()) > MAX_REALM or not self.realm.isprintable():
            raise ConfigurationError(f"a realm is 1 to {MAX_REALM} printable bytes, such as a domain name")
        for listen in self.listeners:
            check_bind_address(listen.address.host, public=self.public)
        if (self.cert is None) != (self.key is None):
            raise ConfigurationError("--cert and --key belong together")
        if self.cert is None and any(listen.transport is Transport.TLS for listen in self.listeners):
            raise ConfigurationError("a tls:// listener needs a certificate and its key")

    def descriptors(self) -> tuple[int, ...]:
        return () if self.udp_fd is None else (self.udp_fd,)

    def relay_host(self, family: AddressFamily) -> str | None:
        """The address that relays of `family` are told to have; None when the server has none."""
        if family in self.relay_ips:
            return self.relay_ips[family]
        hosts = [listen.address.host for listen in self.listeners if listen.address.family == family]
        return hosts[0] if hosts else None
