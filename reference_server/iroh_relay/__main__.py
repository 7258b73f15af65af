"""`python -m reference_server.iroh_relay`: the relay alone, with the command line of iroh-relay where it has one."""

from __future__ import annotations

import argparse
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..ledger import Ledger
from ..service import ConfigurationError, Service, run
from .config import load
from .service import RelayService


def main(arguments: Sequence[str] | None = None, service: Callable[..., Service] = RelayService) -> int:
    """Serve until a signal; returns the exit code. `service` is made with the arguments of `RelayService`."""
    options = _parser().parse_args(arguments)
    _allow_many_connections()

    def make() -> Service:
        config = load(options.config_path, dev=options.dev)
        ledger = Ledger("iroh_relay", enabled=options.ledger)
        stun_socket = None if options.stun_fd is None else _adopt(options.stun_fd)
        return service(config, ledger, public=options.public, stun_socket=stun_socket)

    return run("iroh-relay", make, control=options.control)


def _allow_many_connections() -> None:
    """Every connection is an open file, and many systems allow 1024 unless one asks for more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _adopt(number: int) -> socket.socket:
    try:
        adopted = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigurationError(f"--stun-fd {number} is no open socket: {error.strerror}") from error
    if adopted.type != socket.SOCK_DGRAM:
        raise ConfigurationError(f"--stun-fd {number} is not a UDP socket")
    adopted.setblocking(False)
    return adopted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reference_server.iroh_relay",
        description="A test server: an iroh relay for nodes from 0.35 to 1.x. Not for production.",
    )
    parser.add_argument("-c", "--config-path", type=Path, metavar="FILE", help="iroh-relay.toml")
    parser.add_argument("--dev", action="store_true", help="plain HTTP, whatever the file says about TLS")
    parser.add_argument("--control", type=Path, metavar="PATH", help="unix socket for the control protocol")
    parser.add_argument("--ledger", action="store_true", help="remember who connected and what was carried")
    parser.add_argument("--stun-fd", type=int, metavar="N", help="answer STUN on this inherited UDP socket")
    parser.add_argument("--public", action="store_true", help="listen where others may reach it, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
