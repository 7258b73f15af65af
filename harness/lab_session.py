"""A lab with a server in it: what a check is given that has to know which way the bytes went."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from .clients.versions import CoreChoice
from .device import Device, devices_online
from .hosts import MissingCapability
from .network.lab import Lab, LabHost
from .targets import Target
from .targets.reference import REFERENCE_COMMAND, ReferenceServer, keep_service_logs

__all__ = ["LabFactory", "LabSession", "open_lab"]

SERVER = "chatmail"


@dataclass(frozen=True)
class LabSession:
    """A lab, the server in it, and how devices come to be there."""

    lab: Lab
    server: LabHost
    target: Target
    reference: ReferenceServer
    logs: Path
    cores: CoreChoice

    def devices(self, places: Mapping[str, LabHost]) -> AbstractContextManager[tuple[Device, ...]]:
        """A device on each of these hosts, by name; they start together and end with the block."""
        return devices_online(list(places), self.target, self.logs, hosts=places, cores=self.cores)


LabFactory = Callable[[], AbstractContextManager[LabSession]]


@contextlib.contextmanager
def open_lab(
    logs: Path,
    *,
    command: Sequence[str] = REFERENCE_COMMAND,
    arguments: Sequence[str] = (),
    cores: CoreChoice | None = None,
    on_secret: Callable[[str], object] = str,
) -> Iterator[LabSession]:
    """A lab with a reference server (or another `command`) at a public address and the standard ports.

    `logs`: where programs write; each lab gets a directory of its own there. Raises `MissingCapability` where this
    machine cannot have a lab, and `ServerError`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="lab-", dir=logs))
    with _lab() as lab, tempfile.TemporaryDirectory(prefix="dc-harness-state-") as directory:
        state = Path(directory)
        host = lab.server(SERVER)
        listening = ["--host", host.address, "--public", "--standard-ports", *arguments]
        try:
            with ReferenceServer(
                state, logs, host=host, command=command, arguments=listening, ephemeral=False
            ) as server:
                target = replace(server.target, on_secret=on_secret)
                yield LabSession(lab, host, target, server, logs, cores or CoreChoice())
        finally:
            keep_service_logs(state, logs)


def _lab() -> Lab:
    try:
        return Lab()
    except OSError as error:
        raise MissingCapability("netns", f"this user may not make network namespaces: {error}") from error
