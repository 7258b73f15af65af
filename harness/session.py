"""One run against one target: where its files go, and how devices come to be."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .device import Device, devices_online
from .hosts import Host, LocalHost
from .report.run import Run
from .targets import Target
from .targets.reference import REFERENCE_COMMAND, ReferenceServer
from .targets.remote import remote_target

__all__ = ["DeviceFactory", "Session", "open_session"]

RELAY_PING_INTERVAL = 2.0
"""Seconds, for the embedded server: so that a check can watch several rounds. A relay's default is 15."""

DeviceFactory = Callable[[Sequence[str]], AbstractContextManager[tuple[Device, ...]]]
"""From names to devices that are online and end with the block."""


@dataclass(frozen=True)
class Session:
    """What the checks of one run are given."""

    run: Run
    target: Target
    host: Host
    devices: DeviceFactory


@contextmanager
def open_session(
    run: Run,
    *,
    domain: str | None = None,
    ca_file: Path | None = None,
    binary: Path | None = None,
    command: Sequence[str] = REFERENCE_COMMAND,
    logs: Path | None = None,
) -> Iterator[Session]:
    """A session with the server at `domain`, or with a reference server that is started for it.

    `binary`: another `deltachat-rpc-server`; `command`: another way to start the reference server; `logs`:
    where programs write, the run's own directory for it by default.
    """
    host = LocalHost()
    logs = logs or run.logs
    if domain is not None:
        yield _session(run, remote_target(domain, ca_file=ca_file), host, logs, binary)
        return
    with tempfile.TemporaryDirectory(prefix="dc-harness-state-") as directory:
        state = Path(directory)
        try:
            with ReferenceServer(
                state, logs, host=host, command=command, relay_ping_interval=RELAY_PING_INTERVAL
            ) as server:
                yield _session(run, server.target, host, logs, binary)
        finally:
            for log in state.glob("logs/*.log"):  # what the services wrote is evidence; their state is not
                shutil.copy(log, logs / f"server.{log.name}")


def _session(run: Run, target: Target, host: Host, logs: Path, binary: Path | None) -> Session:
    target = replace(target, on_secret=run.redactor.add)
    devices = functools.partial(devices_online, target=target, logs=logs, host=host, binary=binary)
    return Session(run, target, host, devices)
