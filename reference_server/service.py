"""One service as a process of its own: ready line, control socket, signals, honest exit codes."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from .control import ControlServer
from .errors import ConfigurationError
from .ledger import Ledger
from .log_limit import LogLimit
from .options import add_options
from .service_settings import ServiceSettings

__all__ = ["LIFELINE", "Service", "end_with_parent", "endings", "parser_of", "run"]

LIFELINE = "DC_SERVER_LIFELINE"
"""Environment variable with the read end of a pipe whose other end only the parent holds."""
Settings = TypeVar("Settings", bound=ServiceSettings)


class Service(Protocol):
    """One service: mail, iroh relay, TURN."""

    ledger: Ledger

    async def start(self) -> Mapping[str, Any]:
        """Open every listener and return the endpoints of the ready line."""

    async def close(self) -> None:
        """Stop listening, end the connections, leave nothing behind."""


def parser_of(name: str, settings: type[ServiceSettings], description: str) -> argparse.ArgumentParser:
    """The command line of `python -m reference_server.NAME`."""
    result = argparse.ArgumentParser(prog=f"python -m reference_server.{name}", description=description)
    add_options(result, settings)
    return result


def run(name: str, settings: Callable[[], Settings], make: Callable[[Settings], Service]) -> int:
    """Run one service until SIGTERM or SIGINT and return the process's exit code.

    `settings` may raise `ConfigurationError`, as `make` may. The code is 0 after a signal, 2 for settings that cannot
    work, 1 for anything else that stops it from starting.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        force=True,
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(LogLimit())
    try:
        asyncio.run(_serve(settings, make))
    except ConfigurationError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"{name}: {_explain(error)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def endings() -> tuple[signal.Signals, ...]:
    """Signals that ask for an end in good order: that of the terminal is none where `nohup` has said so."""
    hears_of_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hears_of_terminal else []))


def end_with_parent(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Call `stop` when the process that started this one is gone, even by kill -9: its pipe closes."""
    lifeline = os.environ.pop(LIFELINE, None)
    if lifeline is not None:
        descriptor = int(lifeline)

        def closed() -> None:
            loop.remove_reader(descriptor)
            stop()

        loop.add_reader(descriptor, closed)


async def _serve(read: Callable[[], Settings], make: Callable[[Settings], Service]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in endings():
        loop.add_signal_handler(number, stopping.set)
    end_with_parent(loop, stopping.set)
    settings = read()
    service = make(settings)
    control_server: ControlServer | None = None
    try:
        endpoints = await service.start()
        if settings.control is not None:

            async def ledger(_fields: Mapping[str, Any]) -> dict[str, Any]:
                return service.ledger.snapshot()

            control_server = ControlServer(settings.control, {"ledger": ledger})
            await control_server.start()
        sys.stdout.write(json.dumps({"ready": True, "endpoints": dict(endpoints)}) + "\n")
        sys.stdout.flush()
        await stopping.wait()
    finally:
        if control_server is not None:
            await control_server.close()
        await service.close()


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"an address is in use by another program: {error.strerror}. Stop it or choose another port"
    if error.errno == errno.EACCES:
        return f"no permission: {error.strerror}. Ports below 1024 need root"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this machine does not have that address: {error.strerror}"
    return str(error)
