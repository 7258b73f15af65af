"""Programs that can be a target, or a part of one: how they are asked for, started, disturbed and ended.

A `Server` starts on a host, at a place, as wanted; it becomes a `Running`. One that provides mail becomes a
`RunningServer`, which has a target; any other is a part of a composition (`compose`).
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..clients.control import ControlClient, ControlError, ServiceLedger
from ..clients.turn.sessions import TurnSession
from ..closing import Closing
from ..hosts import Host
from ..target import AdminAccess, Service, Target
from ..urls import RelayUrl, TurnUrl

__all__ = [
    "EVERY_SERVICE",
    "ContradictingWants",
    "Place",
    "Ports",
    "Program",
    "Running",
    "RunningServer",
    "Server",
    "ServerError",
    "TurnLifetimes",
    "Unsupported",
    "Wants",
    "administered",
    "require",
]

EVERY_SERVICE = frozenset(Service)


class ServerError(Exception):
    """A server did not start, or does not do what it was told. The text has the program's last words."""


class Unsupported(Exception):
    """A server cannot do what a check wants of it: it says so, nobody guesses."""


class ContradictingWants(Exception):
    """Two who ask for one server want different things of it."""


@dataclass(frozen=True)
class TurnLifetimes:
    """Lifetimes at a TURN server, in seconds (RFC 8656, sections 3.2, 9 and 12)."""

    allocation: float
    """Granted by default and at most."""
    permission: float
    channel: float


@dataclass(frozen=True)
class Wants:
    """Properties that a check wants of the server it is given; None: as the server has them by itself."""

    services: frozenset[Service] = EVERY_SERVICE
    """Those that it is to run. What METADATA says of the others is in `advertised_...`, or nothing."""
    turn_ttl: int | None = None
    """Seconds for which credentials of TURN are valid."""
    turn_lifetimes: TurnLifetimes | None = None
    strict_permissions: bool | None = None
    """A channel does not keep its permission alive (RFC 8656, section 12)."""
    relay_ping_interval: float | None = None
    """Seconds of silence after which the iroh relay pings a client."""
    advertised_relay: str | None = None
    """URL of the iroh relay in METADATA, in place of the relay's own listener."""
    advertised_turn: str | None = None
    """`HOST:PORT` of TURN over UDP in METADATA, likewise; the host may be a name."""
    advertised_turns: str | None = None
    """`HOST:PORT` of TURN over TLS."""
    turn_secret: str | None = field(default=None, repr=False)
    """Shared by the TURN server and whoever writes its credentials into METADATA."""
    dovecot: Path | None = None
    """Directory of the sockets by which dovecot, in front of the server, asks it for accounts and gets its mail."""
    no_logs: bool | None = None
    """Programs write no logs about their users, as an operator sets it who promises that."""
    both_families: bool | None = None
    """The server is found by its name over IPv4 and IPv6."""
    federation: bool | None = None
    """It exchanges mail with other servers, under the name of its place, or under its address where it has no name."""
    program_name: str | None = None
    """Name of the file as which the program of mail is started, so that nobody sees which one it is."""
    mxdeliv: bool | None = None
    """Other servers may bring mail by `POST /mxdeliv`, as madmail has it."""

    @property
    def stated(self) -> frozenset[str]:
        """Names of the fields that ask for something."""
        return frozenset(
            each.name
            for each in dataclasses.fields(self)
            if each.name != "services" and getattr(self, each.name) is not None
        )

    def __or__(self, other: Wants) -> Wants:
        """Both. Raises `ContradictingWants` for different values of one property, and where no service is left."""
        if clash := sorted(
            name for name in self.stated & other.stated if getattr(self, name) != getattr(other, name)
        ):
            raise ContradictingWants(f"one server cannot have two values of {', '.join(clash)}")
        more = {name: getattr(other, name) for name in other.stated}
        services = self.services & other.services
        if self.services and other.services and not services:
            raise ContradictingWants("one server cannot run these services alone and those alone")
        return dataclasses.replace(self, services=services, **more)

    def only(self, names: frozenset[str]) -> Wants:
        """These without what is not in `names`: for preferences that a check can do without."""
        dropped: dict[str, Any] = dict.fromkeys(self.stated - names)
        return dataclasses.replace(self, **dropped)


@dataclass(frozen=True)
class Ports:
    """Port numbers of a server; the defaults are the standard ones. `iroh_relay` is that of chatmail's layout."""

    imaps: int = 993
    imap: int = 143
    submissions: int = 465
    submission: int = 587
    https: int = 443
    turn: int = 3478
    turns: int = 5349
    iroh_relay: int = 3340
    smtp: int = 25


@dataclass(frozen=True)
class Place:
    """Where a server is to be found, and where it may write."""

    address: str
    """IPv4 address at which it listens, and which clients are told."""
    state: Path
    """Directory of its database, configuration and secrets; gone with the server."""
    logs: Path
    """Directory for its output, which is evidence and stays."""
    ports: Ports | None = None
    """None: free ones."""
    name: str | None = None
    """DNS name by which clients find it, where there is one."""
    address6: str | None = None
    """IPv6 address of that name."""
    certified: tuple[str, ...] = ()
    """Further names and addresses that its certificates are valid for."""
    within: float = 30.0
    """Seconds to become ready."""

    @property
    def is_loopback(self) -> bool:
        return self.address.startswith("127.")

    def directory(self, name: str) -> Path:
        """A directory below `state` for one program, readable for its owner alone."""
        directory = self.state / name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory


class Program(ABC):
    """One program that provides one service or more, known by its process."""

    name: str
    version: str
    """Its name and version, as the program itself says; empty where it says nothing."""
    executable: Path | None = None
    """Its file, where that has an operator's commands as well."""

    @property
    @abstractmethod
    def log(self) -> Path | None:
        """The file with what it writes, if there is one."""

    @abstractmethod
    def start(self) -> None:
        """Start it again at the same place; returns when it is ready. Raises `ServerError`."""

    @abstractmethod
    def stop(self) -> None:
        """End it as an operator does (SIGTERM); returns when it is gone."""

    @abstractmethod
    def kill(self) -> None:
        """End it by SIGKILL; returns when it is gone."""

    @abstractmethod
    def pause(self) -> None:
        """Let its process stand still (SIGSTOP)."""

    @abstractmethod
    def resume(self) -> None:
        """Let it go on (SIGCONT)."""

    def restart(self, *, kill: bool = False) -> None:
        """End it, by SIGKILL if asked, and start it on the same ports."""
        if kill:
            self.kill()
        else:
            self.stop()
        self.start()


@dataclass
class Running(Closing):
    """Programs that run, by the service that they provide, and where they listen."""

    name: str
    programs: Mapping[Service, Program]
    turn: tuple[TurnUrl, ...] = ()
    iroh_relay: RelayUrl | None = None
    capabilities: frozenset[str] = frozenset()
    ca_file: Path | None = None
    """The CA of its certificates."""
    turn_secret: str | None = field(default=None, repr=False)
    """Shared by TURN and whoever writes its credentials into METADATA; None: not known to us."""
    control: ControlClient | None = field(default=None, repr=False)
    """The server's own account of a run, where it has one."""
    relay_metrics: RelayUrl | None = None
    """Listener at which the iroh relay says what it carried, where it has one and is no program of ours."""
    turn_sessions: Callable[[], Sequence[TurnSession]] | None = field(default=None, repr=False)
    """Gives those that have ended by now, as the TURN server counted them; None: it does not say."""
    files: tuple[Path, ...] = ()
    """Files, and directories of files, in which its programs keep and write everything; empty: not ours to read."""
    ends: ExitStack = field(default_factory=ExitStack, repr=False)
    """Gives up what the server holds."""

    @property
    def versions(self) -> dict[str, str]:
        """Program -> version, of those that say it."""
        return {each.name: each.version for each in self.programs.values() if each.version}

    def program(self, service: Service) -> Program:
        """The program that provides a service. Raises `Unsupported` where it is not ours to stop and start."""
        if service in self.programs:
            return self.programs[service]
        raise Unsupported(
            f"{self.name}: the program behind {service.display_name} is not ours to stop and start"
        )

    def ledger(self, service: Service) -> ServiceLedger | None:
        """Everything that a service says it saw and carried; None: it keeps no ledger.

        Raises `ControlError` when it has one and does not give it, or has forgotten a part of it.
        """
        if self.control is None:
            return None
        ledgers = self.control.ledger()
        found: ServiceLedger | None = getattr(ledgers, service.value)
        if found is None or not found.enabled:
            return None
        if not found.complete:
            raise ControlError(f"the ledger of {service.display_name} has forgotten a part of what it saw")
        return found

    def close(self) -> None:
        """End every program. A second call does nothing."""
        self.ends.close()


@dataclass(kw_only=True)
class RunningServer(Running):
    """A server that clients can have accounts on: it has a target."""

    target: Target
    records: tuple[tuple[str, str, str], ...] = ()
    """Name, type and text of what a name server has to tell other servers, besides where this one is."""


@runtime_checkable
class Server(Protocol):
    """A kind of program that can be started as a server, or as a part of one."""

    @property
    def name(self) -> str:
        """As in `--server NAME`."""

    @property
    def services(self) -> frozenset[Service]:
        """Those that it can provide."""

    @property
    def translates(self) -> frozenset[str]:
        """Fields of `Wants` that it can translate for the services that it provides."""

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        """Start it. Raises `ServerError`, `Unsupported` for a want that it cannot fulfil, and `MissingCapability` where
        the program is not installed. Nothing is left behind then."""


Factory = Callable[[Path | None], Server]
"""Makes a kind of server, from the path of its program where one was given."""


def administered(target: Target, admin: AdminAccess) -> Target:
    """The target with its admin API, which we have the token for."""
    return dataclasses.replace(target, admin=admin, capabilities=target.capabilities | {"admin"})


def require(server: Server, wants: Wants) -> None:
    """Raise `Unsupported` for the first want that this server cannot translate."""
    for name in sorted(wants.stated - server.translates):
        raise Unsupported(f"{server.name} cannot set {name}")
