"""How one service runs as a process of its own: ready line, control socket, signals, honest exit codes."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .control import ControlServer
from .ledger import Ledger

__all__ = ["LIFELINE", "ConfigurationError", "Service", "check_bind_address", "end_with_parent", "run"]

LIFELINE = "DC_SERVER_LIFELINE"
"""Environment variable with the read end of a pipe whose other end only the parent holds."""


class ConfigurationError(Exception):
    """Settings that cannot work. The text names what, where and what to do; the exit code is 2."""


class Service(Protocol):
    """One service: mail, iroh relay, TURN."""

    ledger: Ledger

    async def start(self) -> Mapping[str, Any]:
        """Open every listener and return the endpoints of the ready line."""

    async def close(self) -> None:
        """Stop listening, end the connections, leave nothing behind."""


def check_bind_address(host: str, *, public: bool) -> None:
    """Refuse an address that the whole internet could reach, unless the operator asked for it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigurationError(f"{host} is not an IP address to listen on, such as 127.0.0.1") from None
    if public or address.is_loopback or (address.is_private and not address.is_unspecified):
        return
    raise ConfigurationError(
        f"this is a test server: it creates accounts for everybody. "
        f"It does not listen on {host}, which others may reach, unless you start it with --public"
    )


def run(name: str, make: Callable[[], Service], *, control: Path | None = None) -> int:
    """Run one service until SIGTERM or SIGINT and return the process's exit code.

    0 after a signal, 2 for settings that cannot work, 1 for anything else that stops it from starting.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s {name} %(levelname)s %(message)s"
    )
    try:
        asyncio.run(_serve(make, control))
    except ConfigurationError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"{name}: {_explain(error)}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def end_with_parent(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    """Call `stop` when the process that started this one is gone, even by kill -9: its pipe closes."""
    lifeline = os.environ.pop(LIFELINE, None)
    if lifeline is not None:
        descriptor = int(lifeline)

        def closed() -> None:
            loop.remove_reader(descriptor)
            stop()

        loop.add_reader(descriptor, closed)


async def _serve(make: Callable[[], Service], control: Path | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    end_with_parent(loop, stopping.set)
    service = make()
    control_server: ControlServer | None = None
    try:
        endpoints = await service.start()
        if control is not None:

            async def ledger(_fields: Mapping[str, Any]) -> dict[str, Any]:
                return service.ledger.snapshot()

            control_server = ControlServer(control, {"ledger": ledger})
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
