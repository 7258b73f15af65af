"""One run against one target: where its files go, and how devices come to be."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from .device import Device, devices_online
from .hosts import Host, LocalHost
from .lab_session import LabFactory, LabSession, open_lab
from .report.run import Run
from .targets import Target
from .targets.options import Choice
from .targets.reference import REFERENCE_COMMAND, ReferenceServer, keep_service_logs

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
    labs: LabFactory
    """Labs with a server of the same kind as the target; only for a target with the capability `lab`."""
    restarted: Callable[[Sequence[str]], AbstractContextManager[Session]] | None = None
    """From further arguments to a session with another server like this one; None: the server is somebody else's."""

    def served(self, arguments: Sequence[str]) -> AbstractContextManager[Session]:
        """A session whose server was started with these arguments, as far as it is up to us; else this session."""
        if not arguments or self.restarted is None:
            return nullcontext(self)
        return self.restarted(arguments)


@contextmanager
def open_session(
    run: Run,
    choice: Choice | None = None,
    *,
    command: Sequence[str] = REFERENCE_COMMAND,
    arguments: Sequence[str] = (),
    logs: Path | None = None,
) -> Iterator[Session]:
    """A session with the chosen server, or with a reference server that is started for it.

    `command`: another way to start the reference server, `arguments` are further ones for it; `logs`: where programs
    write, the run's own directory for it by default. Raises `ServerError` when the server does not start or shows no
    certificate that could be pinned.
    """
    choice = choice or Choice()
    host = LocalHost()
    logs = logs or run.logs
    if choice.is_remote:
        logs.mkdir(parents=True, exist_ok=True)
        yield _session(run, choice.open(host, logs), host, logs, choice, command=command)
        return

    def restarted(more: Sequence[str]) -> AbstractContextManager[Session]:
        own = Path(tempfile.mkdtemp(prefix="server-", dir=logs))
        return open_session(run, choice, command=command, arguments=[*arguments, *more], logs=own)

    with tempfile.TemporaryDirectory(prefix="dc-harness-state-") as directory:
        state = Path(directory)
        try:
            with ReferenceServer(
                state,
                logs,
                host=host,
                command=command,
                arguments=arguments,
                relay_ping_interval=RELAY_PING_INTERVAL,
            ) as server:
                target = choice.prepare(server.target, host)
                session = _session(run, target, host, logs, choice, command=command, own_arguments=arguments)
                yield replace(session, restarted=restarted)
        finally:
            keep_service_logs(state, logs)


def _session(
    run: Run,
    target: Target,
    host: Host,
    logs: Path,
    choice: Choice,
    *,
    command: Sequence[str],
    own_arguments: Sequence[str] = (),
) -> Session:
    target = replace(target, on_secret=run.redactor.add)
    devices = functools.partial(devices_online, target=target, logs=logs, host=host, cores=choice.cores)

    def labs(*, arguments: Sequence[str] = (), ipv6: bool = False) -> AbstractContextManager[LabSession]:
        return open_lab(
            logs,
            command=command,
            arguments=[*own_arguments, *arguments],
            ipv6=ipv6,
            cores=choice.cores,
            on_secret=run.redactor.add,
        )

    return Session(run, target, host, devices, labs)
