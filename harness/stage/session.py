"""One run against one target: where its files go, and how devices come to be."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from ..clients.core.versions import CoreChoice
from ..clients.device import Device, devices_online
from ..hosts import Host, LocalHost
from ..report.run import Run
from ..servers.reference import REFERENCE_COMMAND, ReferenceServer, keep_service_logs
from ..target import Target
from .lab import LabSession, open_lab
from .options import Choice

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
    logs: Path
    """Where clients, and the servers of labs, write."""
    cores: CoreChoice
    command: Sequence[str]
    """How a server of the same kind as the target is started, with `arguments`: for one with the capability `lab`."""
    arguments: Sequence[str] = ()
    restarted: Callable[[Sequence[str]], AbstractContextManager[Session]] | None = None
    """From further arguments to a session with another server like this one; None: the server is somebody else's."""

    @property
    def devices(self) -> DeviceFactory:
        return functools.partial(
            devices_online, target=self.target, logs=self.logs, host=self.host, cores=self.cores
        )

    def labs(
        self, *, arguments: Sequence[str] = (), ipv6: bool = False
    ) -> AbstractContextManager[LabSession]:
        """A lab with a server of the same kind as the target, see `open_lab`."""
        return open_lab(
            self.logs,
            command=self.command,
            arguments=[*self.arguments, *arguments],
            ipv6=ipv6,
            cores=self.cores,
            on_secret=self.run.redactor.add,
        )

    def apart(self, name: str) -> Session:
        """The same session with a directory for logs of its own: what one check wrote is evidence, and stays."""
        return replace(self, logs=self.logs / name)

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
        target = replace(choice.open(host, logs), on_secret=run.redactor.add)
        yield Session(run, target, host, logs, choice.cores, command)
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
                target = replace(choice.prepare(server.target, host), on_secret=run.redactor.add)
                yield Session(run, target, host, logs, choice.cores, command, arguments, restarted)
        finally:
            keep_service_logs(state, logs)
