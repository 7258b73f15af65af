"""`dc-harness doctor HOST`: what is wrong with a server, why that is sure, and what to change; in seconds."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_command"]

PARTS = ("mail", "turn", "relay")
CODES = "Exit codes: 0 healthy, 1 sick, 2 usage, 3 it could not be told (the output says what to install or allow)."


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    from ..stage.options import add_options  # noqa: PLC0415 - other commands need not load it

    parser = commands.add_parser("doctor", help=sentence, epilog=CODES)
    parser.add_argument("host", nargs="?", metavar="HOST", help="the server, as --domain has it")
    parser.add_argument(
        "--only", action="append", dest="parts", choices=PARTS, help="this part alone; repeat it for more"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument(
        "--prometheus", type=Path, metavar="FILE", help="write metrics for node_exporter's textfile collector"
    )
    parser.add_argument(
        "--watch", metavar="TIME", help="look again after a time like 10m, and say only what changes"
    )
    parser.add_argument(
        "--from",
        dest="network",
        metavar="NETWORK",
        help="look from a device in an emulated network, such as home; a server elsewhere needs --uplink real",
    )
    parser.add_argument(
        "--with-calls",
        action="store_true",
        help="also let three nodes talk through the iroh relay, and two real clients call each other through TURN "
        "(needs the extra `calls`; some thousand packets)",
    )
    add_options(parser.add_argument)
    parser.set_defaults(run=lambda arguments: doctor(parser, arguments))


def doctor(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Exit codes as in `CODES`."""
    from ..stage.options import Choice  # noqa: PLC0415
    from .examination import examine  # noqa: PLC0415

    if arguments.host is not None:
        if arguments.domain not in (None, arguments.host):
            parser.error("HOST and --domain are different servers; name one")
        arguments.domain = arguments.host
    try:
        return examine(arguments, Choice.read(vars(arguments).get))
    except ValueError as error:
        parser.error(str(error))
