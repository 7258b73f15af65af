"""A world outside of a lab: "this machine", and a server that somebody else runs there, with no way further."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.network.lab import Lab, LabHost
from harness.network.uplink import Uplink
from harness.servers.reference import COMMAND, Reference
from harness.servers.server import Place, Ports, RunningServer, Wants
from harness.stage.options import Choice

__all__ = ["NAME", "World", "world"]

NAME = "mail.remote.example"


@dataclass(frozen=True)
class World:
    """Namespaces of ours."""

    network: Lab
    machine: LabHost
    """It stands for the machine that tests run on."""
    remote: LabHost
    server: RunningServer
    """Nobody gets it but the test: a run knows it by its name."""

    @property
    def uplink(self) -> Uplink:
        return Uplink(self.machine, self.machine.namespace)

    @property
    def choice(self) -> Choice:
        return Choice(domain=NAME, ca_file=self.server.target.ca_file, uplink=self.uplink)


@contextmanager
def world(directory: Path, wants: Wants | None = None) -> Iterator[World]:
    """Raises `MissingCapability` where this machine can have no networks: then the test is skipped."""
    with Lab() as network:
        remote, machine = network.server("remote"), network.server("this machine")
        machine.namespace.sysctl({"net/ipv4/ip_forward": 1})
        network.names.set(NAME, remote.address)
        place = Place(remote.address, directory / "state", directory / "remote", Ports())
        with Reference([*COMMAND, "--domain", NAME]).start(remote, place, wants or Wants()) as server:
            yield World(network, machine, remote, server)
