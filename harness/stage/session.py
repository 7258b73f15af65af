"""One run against one target: where its files go, which server it is, and what ran before."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..clients.core.versions import CoreChoice
from ..hosts import Host, LocalHost
from ..report.looks import Look
from ..report.run import Run
from ..scratch import remove_leftovers, scratch_directory
from ..servers.reference import Reference
from ..servers.server import Place, RunningServer, Server, ServerError, Wants
from ..target import Target
from .options import Choice
from .outcome import Outcome
from .second_look import SecondLook
from .stage import Stage
from .survey import look_up

__all__ = ["Session", "loopback_place", "open_session"]

ABSENT = {
    "turn": "offers no TURN: clients use somebody else's",
    "iroh_relay": "offers no iroh relay: clients use somebody else's",
}
PREFERRED = Wants(relay_ping_interval=2.0)
"""For servers that we start on one host: so that a check can watch several rounds of pings in a few seconds."""


@dataclass(frozen=True)
class Session:
    """A server, and everything that the checks of one run share."""

    run: Run
    server: RunningServer
    target: Target
    host: Host
    logs: Path
    """Directory in which clients, and further servers, write."""
    choice: Choice
    kind: Server | None
    """Kind of the target, to start a server like it; None: it is somebody else's."""
    wants: Wants = field(default_factory=Wants)
    """Properties that this run's server was started with because the caller wanted it."""
    look: Look | None = None
    """What was seen of the server before any check; None: it is one of ours, which states what it has."""
    results: dict[str, Outcome] = field(default_factory=dict)
    """Outcomes of the checks that ran on this server, by name."""
    second_look: SecondLook = field(default_factory=SecondLook)
    """For checks that fail and do not know why."""

    @property
    def cores(self) -> CoreChoice:
        return self.choice.cores

    @property
    def capabilities(self) -> frozenset[str]:
        """Those that come from being able to start such a server, to read its files, or to reach it from a lab."""
        has_lab = self.kind is not None or self.choice.uplink is not None
        federates = self.kind is not None and "federation" in self.kind.translates
        has = {"lab": has_lab, "files": bool(self.server.files), "federation": federates}
        return frozenset(name for name, there in has.items() if there)

    @property
    def absent(self) -> list[str]:
        """Sentences on services that the server does not offer, and what that means for its users."""
        return [
            f"{self.target.name} {text}"
            for name, text in ABSENT.items()
            if name not in self.target.capabilities
        ]

    def stage(self, name: str) -> Stage:
        """The stage of one check; `name` is that of its directory for logs."""
        return Stage(self, self.server, self.target, self.host, self.logs / name, Outcome())

    @contextmanager
    def another(self, wants: Wants) -> Iterator[Session]:
        """A session with another server of this kind. Raises `Unsupported`, `ServerError`."""
        assert self.kind is not None
        logs = Path(tempfile.mkdtemp(prefix="server-", dir=self.logs))
        with _started(self.run, self.choice, self.kind, self.wants | wants, logs) as session:
            yield session


@contextmanager
def open_session(
    run: Run,
    choice: Choice | None = None,
    *,
    kind: Server | None = None,
    wants: Wants | None = None,
    logs: Path | None = None,
) -> Iterator[Session]:
    """A session with the chosen server, which is started unless it is somebody else's.

    `kind`: another one to start than the chosen; `logs`: where programs write, the run's own directory for it by
    default. Raises `ServerError` when the server does not start or shows no certificate that could be pinned.
    """
    choice = choice or Choice()
    logs = logs or run.logs
    logs.mkdir(parents=True, exist_ok=True)
    remove_leftovers()
    if not choice.is_remote:
        with _started(run, choice, kind or choice.kind or Reference(), wants or Wants(), logs) as session:
            yield session
        return
    host = choice.uplink.host if choice.uplink else LocalHost()
    with choice.open(host, logs) as server:
        target, look = look_up(replace(server.target, on_secret=run.redactor.add), host)
        target = replace(target, capabilities=target.capabilities | choice.must)
        if target.admin is not None:
            run.redactor.add(target.admin.token)
        yield Session(run, server, target, host, logs, choice, kind=None, look=look)


@contextmanager
def _started(run: Run, choice: Choice, kind: Server, wants: Wants, logs: Path) -> Iterator[Session]:
    host = LocalHost()
    with scratch_directory("state") as state:
        place = loopback_place(state, logs)
        preferred = replace(PREFERRED, turn_secret=secrets.token_urlsafe(32))
        asked = wants | preferred.only(kind.translates - wants.stated)
        if asked.turn_secret is not None:
            run.redactor.add(asked.turn_secret)
        with kind.start(host, place, asked) as server:
            if not isinstance(server, RunningServer):
                raise ServerError(f"{kind.name} has no mail, and is no target by itself")
            target = replace(choice.prepare(server.target, host), on_secret=run.redactor.add)
            if target.admin is not None:
                run.redactor.add(target.admin.token)
            look = None
            if kind.name != Reference.name:
                target, look = look_up(target, host)
            target = replace(target, capabilities=target.capabilities | choice.must)
            yield Session(run, server, target, host, logs, choice, kind, wants, look)


def loopback_place(state: Path, logs: Path) -> Place:
    """Somewhere on this machine where nobody else is: an address of its own, on which ports are free."""
    number = secrets.randbelow(1 << 24) | 0x000102  # not among the first few, which people use themselves
    address = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return Place(address, state, logs)
