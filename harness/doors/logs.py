"""`dc-harness logs`: a service's own log, and what is added to it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import BinaryIO

from ..clients.control import ControlClient, ControlError
from ..hosts import LocalHost
from ..text import clean
from ..waiting import watch
from .console import complain, say

__all__ = ["add_command"]

SHOWN, NO_LOG = 0, 2
SERVICES = {"mail": "mail", "relay": "iroh_relay"}
SOCKETS = "dc-server-*/control.sock"
"""Below the directory for temporary files: where servers have their control sockets (docs/control-protocol.md)."""
LOOK_EVERY = 0.2
MAX_PAST = 256 * 1024
"""Bytes of what was there before that are looked at for the last lines."""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser("logs", help=sentence)
    parser.add_argument("service", choices=sorted(SERVICES))
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C or the server's end")
    parser.add_argument(
        "-n", "--lines", type=int, default=20, metavar="N", help="how many lines (default: 20)"
    )
    parser.add_argument(
        "--control", type=Path, metavar="PATH", help="its control socket (default: finds the server)"
    )
    parser.set_defaults(run=logs)


def logs(arguments: argparse.Namespace) -> int:
    """0, or 2 when there is no such server or log."""
    try:
        control = arguments.control or _running_server()
        path = ControlClient(control, LocalHost()).logs(SERVICES[arguments.service], lines=1).path
        with path.open("rb") as stream:
            tail = _Tail(stream, control)
            past = tail.past()
            for line in past[max(0, len(past) - arguments.lines) :]:
                say(line)
            if arguments.follow:
                for line in watch(tail.look, every=LOOK_EVERY):
                    say(line)
    except ControlError as error:
        complain(str(error))
        return NO_LOG
    except OSError as error:
        complain(f"the log cannot be read: {error}")
        return NO_LOG
    except (KeyboardInterrupt, _ServerEnded):
        pass
    return SHOWN


def _running_server() -> Path:
    found = [path for path in Path(tempfile.gettempdir()).glob(SOCKETS) if _answers(path)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ControlError("no server runs here that this user may ask; name its socket with --control")
    raise ControlError(
        "several servers run here; choose one with --control:\n" + "\n".join(map(str, sorted(found)))
    )


def _answers(path: Path) -> bool:
    """A server that was killed leaves its socket behind, and nobody at it."""
    try:
        ControlClient(path, LocalHost(), within=5).logs("mail", lines=1)
    except ControlError:
        return False
    return True


class _ServerEnded(Exception):
    """There is nothing left to follow."""


class _Tail:
    """Whole lines of a growing file."""

    def __init__(self, stream: BinaryIO, control: Path) -> None:
        self._stream = stream
        self._control = control
        self._partial = b""

    def past(self) -> list[str]:
        """The lines near the end of what is there."""
        size = self._stream.seek(0, 2)
        self._stream.seek(max(0, size - MAX_PAST))
        lines = self._lines()
        return lines[1:] if size > MAX_PAST else lines

    def look(self) -> list[str]:
        """Read the lines that were added. Raises `_ServerEnded` when nothing was and nothing will be."""
        # A server removes its socket's directory last, after the end of every service. We look before we read:
        # afterwards, whatever was written is there to read.
        ended = not self._control.parent.exists()
        lines = self._lines()
        if ended and not lines:
            raise _ServerEnded
        return lines

    def _lines(self) -> list[str]:
        *lines, self._partial = (self._partial + self._stream.read()).split(b"\n")
        return [clean(line.decode(errors="replace")) for line in lines]
