"""Servers that run nothing: for tests of how servers are put together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.hosts import Host
from harness.servers.server import Place, Program, Running, RunningServer, ServerError, Wants
from harness.target import Service, Target
from harness.urls import RelayUrl, TurnUrl

__all__ = ["ADDRESS", "RECORDS", "FakeProgram", "FakeServer", "place"]

ADDRESS = "127.77.8.9"
RECORDS = (("_key.example", "TXT", "v=DKIM1"),)


def place(directory: Path) -> Place:
    return Place(ADDRESS, directory / "state", directory / "logs")


class FakeProgram(Program):
    log = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.version = f"{name} 1.0"

    def start(self) -> None: ...

    stop = kill = pause = resume = start


class FakeServer:
    """Records what it was asked for, and whether it has been closed."""

    def __init__(
        self,
        name: str,
        services: Iterable[Service],
        translates: Iterable[str] = (),
        *,
        fails: str | None = None,
        turn: tuple[TurnUrl, ...] = (),
        iroh_relay: RelayUrl | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self.name = name
        self.services = frozenset(services)
        self.translates = frozenset(translates)
        self.asked: Wants | None = None
        self.open = 0
        self._fails = fails
        self._turn, self._iroh_relay, self._ca_file = turn, iroh_relay, ca_file

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        self.asked = wants
        if self._fails is not None:
            raise ServerError(self._fails)
        programs = {each: FakeProgram(self.name) for each in self.services & wants.services}
        if Service.MAIL in self.services:
            running: Running = RunningServer(
                self.name,
                programs,
                target=_target(place),
                ca_file=self._ca_file,
                iroh_relay=self._iroh_relay,
                files=(place.state,),
                records=RECORDS,
            )
        else:
            running = Running(
                self.name, programs, turn=self._turn, iroh_relay=self._iroh_relay, ca_file=self._ca_file
            )
        self.open += 1
        running.ends.callback(self._closed)
        return running

    def _closed(self) -> None:
        self.open -= 1


def _target(place: Place) -> Target:
    return Target(
        name="fake",
        host=place.address,
        domain=f"[{place.address}]",
        imaps=993,
        imap=143,
        submissions=465,
        submission=587,
        https=443,
        ca_file=None,
        dialect="madmail",
        capabilities=frozenset({"admin"}),
    )
