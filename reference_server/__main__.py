"""`python -m reference_server`: a whole chatmail test server."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .service import ConfigurationError, end_with_parent
from .settings import choose
from .supervisor import Command, Supervisor, standard_command


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m reference_server",
        description="A small chatmail server for tests: mail, iroh relay and TURN. "
        "It creates an account for everybody who logs in; do not give it to real users.",
    )
    result.add_argument(
        "--state", type=Path, help="directory that keeps accounts and mail (default: forgotten)"
    )
    result.add_argument("--host", help="address to listen on (default: 127.0.0.1, or a free 127.x.y.z)")
    ports = result.add_mutually_exclusive_group()
    ports.add_argument("--ephemeral-ports", action="store_true", help="free ports, on a free 127.x.y.z")
    ports.add_argument("--standard-ports", action="store_true", help="993, 143, 465, 587 and 443; needs root")
    result.add_argument("--domain", help="mail domain (default: chatmail.test)")
    result.add_argument(
        "--dialect",
        choices=("chatmail", "madmail"),
        help="whose habits (default: chatmail; with maddy.conf: madmail)",
    )
    result.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="maddy.conf or iroh-relay.toml (docs/configuration.md); may be given for each of them",
    )
    result.add_argument(
        "--turn",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a TURN server for calls (default: yes; with --config as maddy.conf says)",
    )
    result.add_argument(
        "--turn-ttl", type=int, default=86400, metavar="SECONDS", help="how long its credentials are valid"
    )
    result.add_argument(
        "--advertise-relay",
        metavar="URL",
        help="the relay in METADATA, where clients reach it by another address",
    )
    result.add_argument(
        "--advertise-turn", metavar="HOST:PORT", help="likewise the TURN server (UDP); the host may be a name"
    )
    result.add_argument("--advertise-turns", metavar="HOST:PORT", help="likewise the TURN server over TLS")
    for name, what in (
        ("default", "of an allocation (default: 600)"),
        ("max", "of an allocation at most (default: 3600)"),
        ("permission", "of a permission (default: 300)"),
        ("channel", "of a channel (default: 600)"),
    ):
        result.add_argument(
            f"--turn-{name}-lifetime", type=_seconds, metavar="SECONDS", help=f"lifetime {what}"
        )
    result.add_argument(
        "--turn-strict-permissions",
        action="store_true",
        help="a channel does not keep its permission alive, as RFC 8656 has it to the letter",
    )
    result.add_argument("--compress", action="store_true", help="offer COMPRESS=DEFLATE over IMAP")
    result.add_argument(
        "--messages-per-minute",
        type=int,
        metavar="N",
        help="that a sender may submit, after 10 at once (default: no limit)",
    )
    result.add_argument("--ledger", action="store_true", help="remember who connected and what was carried")
    result.add_argument(
        "--relay-ping-interval",
        type=_seconds,
        metavar="SECONDS",
        help="silence after which the relay pings a client (default: 15)",
    )
    result.add_argument("--public", action="store_true", help="allow an address that others can reach")
    return result


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError
    return seconds


async def serve(arguments: argparse.Namespace, state: Path, command: Command, make: type[Supervisor]) -> None:
    supervisor = make(*choose(arguments, state), command=command)
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


def main(
    argv: Sequence[str] | None = None,
    command: Command = standard_command,
    supervisor: type[Supervisor] = Supervisor,
) -> int:
    """Run the server until a signal; 0 afterwards, 2 for settings that cannot work.

    `check-config FILE...` checks files instead (`config.check_config`).
    """
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["check-config"]:
        from .config import check_config  # noqa: PLC0415 - lark is slow to load

        return check_config.main(words[1:])
    arguments = parser().parse_args(words)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s server %(levelname)s %(message)s"
    )
    with ExitStack() as stack:
        state = arguments.state
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dc-server-state-")))
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            asyncio.run(serve(arguments, state.resolve(), command, supervisor))
        except (ConfigurationError, OSError) as error:
            print(f"reference_server: {error}", file=sys.stderr)  # noqa: T201
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
