"""`dc-harness serve`: a server to point a Delta Chat at, and a line for each thing that happens there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..clients.control import ControlClient, ControlError, ServiceLedger
from ..hosts import LocalHost, MissingCapability
from ..report.events import event_line
from ..scratch import remove_leftovers, scratch_directory
from ..servers.endpoints import describe
from ..servers.reference import COMMAND, SupervisorProcess
from ..servers.server import Place, ServerError
from ..target import Target
from ..text import clean
from ..waiting import watch
from .console import complain, say
from .interrupts import Interrupted, interruptible, uninterrupted

__all__ = ["add_command"]

STOPPED, FAILED = 0, 1
LOOK_EVERY = 0.5
WHITE_ON_BLACK, PLAIN = "\x1b[97;40m", "\x1b[0m"
"""A QR code has to look the same on dark and on light terminals."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser("serve", help=sentence)
    parser.add_argument(
        "--host", metavar="ADDRESS", help="where to listen, of this machine (default: 127.0.0.1)"
    )
    parser.add_argument("--public", action="store_true", help="allow an address that everybody can reach")
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="maddy.conf or iroh-relay.toml; may be given for each of them",
    )
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="keeps accounts and mail (default: forgotten)"
    )
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    """0 after Ctrl-C or SIGTERM, 1 when the server does not start or ends by itself."""
    remove_leftovers()
    with uninterrupted(), scratch_directory("serve") as directory:
        state = arguments.state or directory / "state"
        place = Place(arguments.host or "", state, directory / "logs")
        words = ["--state", str(state), *_server_arguments(arguments)]
        try:
            with interruptible(), SupervisorProcess(LocalHost(), COMMAND, words, place) as server:
                target = describe(server.endpoints, "reference", frozenset())
                _introduce(server, target)
                for line in watch(_NewEvents(server).look, every=LOOK_EVERY):
                    say(line)
        except Interrupted:
            say("\nstopped")
        except (ServerError, MissingCapability) as error:
            complain(str(error))
            return FAILED
    return STOPPED


def _server_arguments(arguments: argparse.Namespace) -> list[str]:
    words = ["--host", arguments.host] if arguments.host else []
    words += ["--public"] if arguments.public else []
    for path in arguments.config:
        words += ["--config", str(path)]
    return words


def _introduce(server: SupervisorProcess, target: Target) -> None:
    endpoints = server.endpoints
    relay = endpoints.get("iroh_relay", "none")
    stun = f"{target.host}:{endpoints['stun']} (UDP)" if "stun" in endpoints else "none"
    say(
        f"A TEST server runs on {target.host}. It creates an account for everybody who logs in.\n"
        f"  mail domain   {target.domain}\n"
        f"  IMAP          {target.host}:{target.imaps} (TLS), {target.imap} (STARTTLS)\n"
        f"  submission    {target.host}:{target.submissions} (TLS), {target.submission} (STARTTLS)\n"
        f"  new accounts  POST https://{target.host}:{target.https}/new\n"
        f"  iroh relay    {relay}\n"
        f"  STUN          {stun}\n"
        f"  TURN          {', '.join(endpoints.get('turn', ())) or 'none'}\n"
        f"  CA file       {target.ca_file or 'none: the certificate is the configured one'}\n"
        f"  control       {endpoints['control']}\n"
    )
    for line in server.stderr_path.read_text(errors="replace").splitlines():
        if " WARNING " in line:  # about the configuration, in the words of check-config
            say(clean(line))
    _hand_out_account(target)
    say("What happens from now on; Ctrl-C ends the server.")


def _hand_out_account(target: Target) -> None:
    """A login code is a password: it goes to a terminal, where a person looks, and into no file or pipe."""
    if not sys.stdout.isatty():
        say("A login code for a fresh account is shown on a terminal only: it is a password.\n")
        return
    account = target.new_account()
    code = account.dclogin(target)
    say(f"A fresh account, {account.address}; scan this with Delta Chat, or paste the line below it:\n")
    for line in _qr(code):
        say(f"{WHITE_ON_BLACK}{line}{PLAIN}")
    say(
        f"\n{code}\n\n"
        "This code is a password: whoever sees it can use the account.\n"
        "It makes Delta Chat accept any certificate: do not use it for anything but tests.\n"
    )


def _qr(text: str) -> list[str]:
    """Lines of half blocks, without colours."""
    import segno  # noqa: PLC0415 - slow to load, and only this command needs it

    modules = [list(row) for row in segno.make_qr(text, error="l", boost_error=False).matrix_iter(border=2)]
    modules += [[0] * len(modules[0])] * (len(modules) % 2)
    blocks = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    return [
        "".join(blocks[upper, lower] for upper, lower in zip(*pair, strict=True))
        for pair in zip(modules[::2], modules[1::2], strict=True)
    ]


class _NewEvents:
    """Events in the services' ledgers that were not there at the look before."""

    def __init__(self, server: SupervisorProcess) -> None:
        self._server = server
        self._control = ControlClient(Path(server.endpoints["control"]), LocalHost())
        self._seen: dict[tuple[str, float], int] = {}
        """Events of a service since it was started at that time."""

    def look(self) -> list[str]:
        """Lines in the order of time. Raises `ServerError` when the server has ended."""
        if not self._server.running:
            raise ServerError(self._server.explain("ended by itself"))
        try:
            ledgers = self._control.ledger()
        except ControlError:
            return []  # a service is being restarted: the next look finds it
        fresh = [
            (event, ledger.service)
            for ledger in (ledgers.mail, ledgers.iroh_relay)
            if ledger is not None
            for event in ledger.events[self._known(ledger) :]
        ]
        fresh.sort(key=lambda pair: pair[0].time)
        return [event_line(service, event) for event, service in fresh]

    def _known(self, ledger: ServiceLedger) -> int:
        """Number of the ledger's events that were there before; all count as seen afterwards."""
        key = (ledger.service, ledger.started)
        before = self._seen.get(key, 0)
        self._seen[key] = ledger.events_forgotten + len(ledger.events)
        return max(0, before - ledger.events_forgotten)
