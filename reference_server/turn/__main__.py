"""`python -m reference_server.turn`: the TURN server as a process of its own."""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reference_server.service import ConfigurationError, Service, run

from .credentials import read_secrets
from .ledger import TurnLedger
from .service import TurnService
from .settings import Listen, PortRange, TurnSettings
from .stun import AddressFamily


def main(arguments: Sequence[str] | None = None, service: Callable[..., Service] = TurnService) -> int:
    """Serve until a signal; returns the exit code. `service` is made with the arguments of `TurnService`."""
    options = _parser().parse_args(arguments)

    def make() -> Service:
        return service(
            _settings(options),
            _secrets(options),
            TurnLedger(enabled=options.ledger),
            certificate=_certificate(options),
            allowed_peers=[_network(text) for text in options.allow_peers],
            udp_socket=None if options.udp_fd is None else _adopt(options.udp_fd),
            public=options.public,
        )

    return run("turn", make, control=options.control)


def _settings(options: argparse.Namespace) -> TurnSettings:
    known: dict[str, Any] = {}
    for name in ("default_lifetime", "max_lifetime", "permission_lifetime", "channel_lifetime"):
        value = getattr(options, name)
        if value is not None:
            if not value > 0:
                raise ConfigurationError(f"--{name.replace('_', '-')} is a number of seconds above 0")
            known[name] = value
    if options.relay_ports is not None:
        known["relay_ports"] = PortRange.parse(options.relay_ports)
    return TurnSettings(
        listeners=tuple(Listen.parse(text) for text in options.listen),
        realm=options.realm,
        relay_ips=_relay_ips(options.relay_ip),
        strict_permissions=options.strict_permissions,
        **known,
    )


def _relay_ips(texts: Sequence[str]) -> dict[AddressFamily, str]:
    result: dict[AddressFamily, str] = {}
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise ConfigurationError(f"--relay-ip {text} is no IP address") from None
        result[AddressFamily.of(str(address))] = str(address)
    return result


def _secrets(options: argparse.Namespace) -> list[str]:
    secrets = list(options.secret)
    for file in options.secret_file:
        secrets += read_secrets(file)
    if not secrets:
        raise ConfigurationError("TURN needs a secret: --secret-file FILE, or --secret TEXT (visible in ps)")
    return secrets


def _certificate(options: argparse.Namespace) -> tuple[Path, Path] | None:
    if (options.cert is None) != (options.key is None):
        raise ConfigurationError("--cert and --key belong together")
    return None if options.cert is None else (options.cert, options.key)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigurationError(f"--allow-peers {text} is no network: {error}") from None


def _adopt(number: int) -> socket.socket:
    try:
        adopted = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigurationError(f"--udp-fd {number} is no open socket: {error.strerror}") from error
    if adopted.type != socket.SOCK_DGRAM:
        raise ConfigurationError(f"--udp-fd {number} is not a UDP socket")
    return adopted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reference_server.turn", description="A TURN server for tests. Not for production."
    )
    parser.add_argument(
        "--listen",
        action="append",
        required=True,
        metavar="URL",
        help="udp://, tcp:// or tls:// with ADDRESS:PORT; may be repeated; port 0 for any free one",
    )
    parser.add_argument("--realm", required=True, help="the realm of the credentials, such as a domain")
    parser.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="TEXT",
        help="shared secret; everybody can see it in ps",
    )
    parser.add_argument(
        "--secret-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="shared secrets, one a line",
    )
    parser.add_argument(
        "--relay-ip",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="told to clients; one of each family",
    )
    parser.add_argument("--relay-ports", metavar="FIRST-LAST", help="49152-65535")
    for name, what in (
        ("default", "of an allocation"),
        ("max", "of an allocation at most"),
        ("permission", "of a permission"),
        ("channel", "of a channel"),
    ):
        parser.add_argument(f"--{name}-lifetime", type=float, metavar="SECONDS", help=what)
    parser.add_argument(
        "--strict-permissions", action="store_true", help="a channel does not keep its permission alive"
    )
    parser.add_argument(
        "--allow-peers",
        action="append",
        default=[],
        metavar="CIDR",
        help="for labs: peers that are refused otherwise",
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="PEM chain for tls://")
    parser.add_argument("--key", type=Path, metavar="FILE", help="PEM key for tls://")
    parser.add_argument("--udp-fd", type=int, metavar="N", help="inherited socket of the udp:// listener")
    parser.add_argument("--control", type=Path, metavar="PATH", help="unix socket (docs/control-protocol.md)")
    parser.add_argument("--ledger", action="store_true", help="remember allocations and what they carried")
    parser.add_argument("--public", action="store_true", help="listen where others may reach it, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
