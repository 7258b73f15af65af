"""Client of the control protocol (docs/control-protocol.md).

It reads the server's own account of a run, and restarts or pauses the server's processes.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import plain
from ..hosts import Host
from .turn.ledger import Count, TurnAllocation, read_counts

__all__ = [
    "AcceptedConnection",
    "ControlClient",
    "ControlError",
    "Event",
    "Ledgers",
    "PairTraffic",
    "ServiceLedger",
    "ServiceLog",
]

VERSION = 1
MAX_REPLY = 64 * 1024 * 1024
"""Bytes. A ledger with all its bounds reached stays below."""

Record = TypeVar("Record", "AcceptedConnection", "PairTraffic")


class ControlError(Exception):
    """The server did not answer, refused, or answered something that is not the protocol."""


@dataclass(frozen=True)
class Event:
    """Something that a service saw: unix seconds, a kind, and what belongs to that kind."""

    time: float
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class AcceptedConnection:
    """One accepted TCP connection; bytes are those of its socket, inside TLS where there is TLS."""

    id: int
    listener: str
    remote: str
    """`address:port` of the client's end."""
    identity: str | None
    """Identity that logged in: a mail address, or a node ID as 64 hex digits."""
    opened: float
    closed: float | None
    bytes_in: int
    bytes_out: int
    frames_in: int
    frames_out: int


@dataclass(frozen=True)
class PairTraffic:
    """Traffic that a relay forwarded from one node ID to another: packets and their payload bytes."""

    source: str
    destination: str
    frames: int
    bytes: int
    frames_dropped: int


@dataclass(frozen=True)
class ServiceLedger:
    """Memory of one service about a run. `complete` is False when bounds made it forget something."""

    service: str
    enabled: bool
    started: float
    events: tuple[Event, ...] = field(repr=False)
    connections: tuple[AcceptedConnection, ...] = field(repr=False)
    pairs: tuple[PairTraffic, ...]
    complete: bool
    events_forgotten: int = 0
    """Number of events before the first that is remembered."""
    allocations: tuple[TurnAllocation, ...] = ()
    """Those of a TURN service."""
    drops: Mapping[str, Count] = field(default_factory=dict)
    """Datagrams that a TURN service dropped and that belong to no allocation, by reason."""

    @classmethod
    def parse(cls, data: object) -> ServiceLedger:
        """Read the JSON of docs/control-protocol.md. Anything else is a `ControlError`."""
        if not isinstance(data, Mapping):
            raise ControlError(f"a ledger is an object, not {type(data).__name__}")
        if "error" in data:
            raise ControlError(f"the service gives no ledger: {data['error']}")
        if data.get("version") != VERSION:
            raise ControlError(
                f"this harness reads ledger version {VERSION}, the server wrote {data.get('version')}"
            )
        turn = data.get("service") == "turn"
        parts = ("events", "connections", "pairs", *(["allocations"] if turn else []))
        try:
            return cls(
                service=str(data["service"]),
                enabled=bool(data["enabled"]),
                started=float(data["started"]),
                events=tuple(_event(each) for each in data["events"]),
                connections=tuple(_record(AcceptedConnection, each) for each in data["connections"]),
                pairs=tuple(_record(PairTraffic, each) for each in data["pairs"]),
                complete=not any(data[f"{part}_forgotten"] for part in parts),
                events_forgotten=int(data["events_forgotten"]),
                allocations=tuple(map(TurnAllocation.parse, data["allocations"])) if turn else (),
                drops=read_counts(data["drops"]) if turn else {},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ControlError(f"not a ledger: {type(error).__name__} {error}") from error

    def events_of(self, kind: str, **wanted: Any) -> tuple[Event, ...]:
        """The events of one kind whose fields have these values."""
        return tuple(
            event
            for event in self.events
            if event.kind == kind and all(event.fields.get(key) == value for key, value in wanted.items())
        )

    def connections_of(self, identity: str) -> tuple[AcceptedConnection, ...]:
        """The connections on which that identity logged in."""
        return tuple(each for each in self.connections if each.identity == identity)

    def connection_from(self, remote: str) -> AcceptedConnection | None:
        """The newest connection whose client end is `address:port`."""
        return next((each for each in reversed(self.connections) if each.remote == remote), None)

    def pair(self, source: str, destination: str) -> PairTraffic:
        """Traffic from one node ID to another: zeros when there was none."""
        for each in self.pairs:
            if (each.source, each.destination) == (source, destination):
                return each
        return PairTraffic(source, destination, 0, 0, 0)

    def allocation_at(self, relayed: str) -> TurnAllocation | None:
        """The newest allocation with that relayed transport address, `address:port`."""
        return next((each for each in reversed(self.allocations) if relayed in each.relayed), None)

    def allocation_of(self, client: str, relayed: str) -> TurnAllocation | None:
        """The newest allocation of the client at `address:port` with that relayed transport address."""
        return next(
            (
                each
                for each in reversed(self.allocations)
                if each.client == client and relayed in each.relayed
            ),
            None,
        )


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of a server's services at one moment; None: the server has no such service of its own."""

    mail: ServiceLedger
    iroh_relay: ServiceLedger | None = None
    turn: ServiceLedger | None = None

    @property
    def enabled(self) -> bool:
        """Every service remembers what it sees."""
        return all(each.enabled for each in (self.mail, self.iroh_relay, self.turn) if each is not None)


@dataclass(frozen=True)
class ServiceLog:
    """The end of one service's own log."""

    path: Path
    lines: tuple[str, ...]


class ControlClient:
    """Asks a server's control socket. Each verb makes its own connection, so restarts do no harm."""

    def __init__(self, path: Path, host: Host, *, within: float = 30.0) -> None:
        """`within`: seconds for one answer."""
        self.path = path
        self._host = host
        self._within = within

    def ledger(self) -> Ledgers:
        """Ledgers of the services since they started."""
        result = self._request("ledger")
        if not isinstance(result, Mapping):
            raise ControlError("the verb ledger answers an object")
        relay, turn = (
            ServiceLedger.parse(result[name]) if name in result else None for name in ("iroh_relay", "turn")
        )
        return Ledgers(ServiceLedger.parse(result.get("mail")), relay, turn)

    def logs(self, service: str, *, lines: int = 200) -> ServiceLog:
        """The last lines of a service's own log."""
        result = self._request("logs", service=service, lines=lines)
        try:
            return ServiceLog(Path(result["path"]), tuple(str(line) for line in result["lines"]))
        except (KeyError, TypeError) as error:
            raise ControlError(f"the verb logs answered something else: {error}") from error

    def restart(self, service: str, *, kill: bool = False) -> int:
        """End one service (SIGTERM or SIGKILL) and start it on the same ports: its new process ID."""
        result = self._request("restart", service=service, signal="KILL" if kill else "TERM")
        try:
            return int(result["pid"])
        except (KeyError, TypeError, ValueError) as error:
            raise ControlError(f"the verb restart answered something else: {error}") from error

    def processes(self) -> dict[str, int]:
        """Process IDs of the services that run."""
        result = self._request("services")
        if not isinstance(result, Mapping):
            raise ControlError("the verb services answers an object")
        return {str(name): int(pid) for name, pid in result.items() if isinstance(pid, int)}

    def stop(self, service: str, *, kill: bool = False) -> None:
        """End one service (SIGTERM or SIGKILL) and leave it so."""
        self._request("stop", service=service, signal="KILL" if kill else "TERM")

    def start(self, service: str) -> None:
        """Start a service that was ended, on the same ports; returns when it is ready."""
        self._request("start", service=service)

    def pause(self, service: str, *, paused: bool) -> None:
        """Stop a service's process (SIGSTOP), or let it go on (SIGCONT)."""
        self._request("pause", service=service, paused=paused)

    def _request(self, verb: str, **parameters: Any) -> Any:
        line = json.dumps({"v": VERSION, "id": 1, "verb": verb, **parameters}).encode() + b"\n"
        try:
            with self._host.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._within)
                connection.connect(str(self.path))
                connection.sendall(line)
                with connection.makefile("rb") as stream:
                    reply = stream.readline(MAX_REPLY)
        except OSError as error:
            raise ControlError(f"no answer from the control socket {self.path}: {plain(error)}") from error
        return _result(reply, verb)


def _result(reply: bytes, verb: str) -> Any:
    if not reply.endswith(b"\n"):
        raise ControlError(f"the control socket closed before it answered {verb}")
    try:
        answer = json.loads(reply)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"the control socket answered {verb} with something that is not JSON") from error
    if not isinstance(answer, Mapping) or answer.get("v") != VERSION:
        raise ControlError(f"the control socket does not speak control protocol {VERSION}")
    if not answer.get("ok"):
        raise ControlError(f"{verb} was refused: {answer.get('error')}")
    return answer.get("result")


def _event(data: Mapping[str, Any]) -> Event:
    rest = {key: value for key, value in data.items() if key not in ("time", "kind")}
    return Event(float(data["time"]), str(data["kind"]), rest)


def _record(kind: type[Record], data: Mapping[str, Any]) -> Record:
    """Take the fields that we know; a newer server may say more."""
    return kind(**{each.name: data[each.name] for each in fields(kind)})
