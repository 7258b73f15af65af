"""`python -m reference_server`: a whole chatmail test server."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .addresses import DEFAULT_PORTS, STANDARD_PORTS, claim_address, claim_any_address, free_ports
from .service import ConfigurationError, check_bind_address, end_with_parent
from .supervisor import Command, ServerSettings, Supervisor, standard_command


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m reference_server",
        description="A small chatmail server for tests: mail and iroh relay. "
        "It creates an account for everybody who logs in; do not give it to real users.",
    )
    result.add_argument(
        "--state", type=Path, help="directory that keeps accounts and mail (default: forgotten)"
    )
    result.add_argument("--host", help="address to listen on (default: 127.0.0.1, or a free 127.x.y.z)")
    ports = result.add_mutually_exclusive_group()
    ports.add_argument("--ephemeral-ports", action="store_true", help="free ports, on a free 127.x.y.z")
    ports.add_argument("--standard-ports", action="store_true", help="993, 143, 465, 587 and 443; needs root")
    result.add_argument("--domain", default="chatmail.test", help="mail domain (default: %(default)s)")
    result.add_argument("--dialect", choices=("chatmail", "madmail"), default="chatmail", help="whose habits")
    result.add_argument(
        "--turn",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a TURN server for calls (default: yes)",
    )
    result.add_argument(
        "--turn-ttl", type=int, default=86400, metavar="SECONDS", help="how long its credentials are valid"
    )
    result.add_argument("--ledger", action="store_true", help="remember who connected and what was carried")
    result.add_argument("--public", action="store_true", help="allow an address that others can reach")
    return result


def settings(arguments: argparse.Namespace, state: Path) -> tuple[ServerSettings, socket.socket]:
    """Claim an address and choose the ports."""
    if arguments.host is None and arguments.ephemeral_ports:
        host, claim = claim_any_address()
    else:
        host = arguments.host or "127.0.0.1"
        check_bind_address(host, public=arguments.public)
        claim = claim_address(host)
    if arguments.ephemeral_ports:
        ports = free_ports(host)
    else:
        ports = STANDARD_PORTS if arguments.standard_ports else DEFAULT_PORTS
    chosen = ServerSettings(
        state=state,
        host=host,
        ports=ports,
        domain=arguments.domain,
        dialect=arguments.dialect,
        ledger=arguments.ledger,
        public=arguments.public,
        turn=arguments.turn and ":" not in host,
        turn_ttl=arguments.turn_ttl,
    )
    if arguments.turn and not chosen.turn:
        logging.warning("no TURN: METADATA has no way to name a TURN server at an IPv6 address")
    return chosen, claim


async def serve(arguments: argparse.Namespace, state: Path, command: Command) -> None:
    supervisor = Supervisor(*settings(arguments, state), command=command)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.ask_to_stop)
    end_with_parent(loop, supervisor.ask_to_stop)
    try:
        endpoints = await supervisor.start()
        logging.info("this is a TEST server: it creates accounts for everybody. State is in %s", state)
        sys.stdout.write(json.dumps({"ready": True, "endpoints": endpoints}) + "\n")
        sys.stdout.flush()
        await supervisor.wait_stopped()
    finally:
        await supervisor.close()


def main(argv: Sequence[str] | None = None, command: Command = standard_command) -> int:
    """Run the server until a signal; 0 afterwards, 2 for settings that cannot work."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s server %(levelname)s %(message)s"
    )
    with ExitStack() as stack:
        state = arguments.state
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dc-server-state-")))
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            asyncio.run(serve(arguments, state.resolve(), command))
        except (ConfigurationError, OSError) as error:
            print(f"reference_server: {error}", file=sys.stderr)  # noqa: T201
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
