"""Client of the control protocol (docs/control-protocol.md).

It reads the server's own account of a run, and restarts or pauses the server's processes.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..hosts import Host

__all__ = [
    "Allocation",
    "Connection",
    "ControlClient",
    "ControlError",
    "Event",
    "Ledgers",
    "Pair",
    "ServiceLedger",
    "ServiceLog",
    "Tally",
    "TurnLedger",
]

VERSION = 1
MAX_REPLY = 64 * 1024 * 1024
"""Bytes. A ledger with all its bounds reached stays below."""

Record = TypeVar("Record", "Connection", "Pair")


class ControlError(Exception):
    """The server did not answer, refused, or answered something that is not the protocol."""


@dataclass(frozen=True)
class Event:
    """Something that a service saw: unix seconds, a kind, and what belongs to that kind."""

    time: float
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Connection:
    """One accepted TCP connection; bytes are those of its socket, inside TLS where there is TLS."""

    id: int
    listener: str
    remote: str
    """`address:port` of the client's end."""
    identity: str | None
    """Who logged in: a mail address, or a node ID as 64 hex digits."""
    opened: float
    closed: float | None
    bytes_in: int
    bytes_out: int
    frames_in: int
    frames_out: int


@dataclass(frozen=True)
class Pair:
    """What a relay forwarded from one node ID to another: packets and their payload bytes."""

    source: str
    destination: str
    frames: int
    bytes: int
    frames_dropped: int


@dataclass(frozen=True)
class ServiceLedger:
    """What one service remembers of a run. `complete` is False when bounds made it forget something."""

    service: str
    enabled: bool
    started: float
    events: tuple[Event, ...] = field(repr=False)
    connections: tuple[Connection, ...] = field(repr=False)
    pairs: tuple[Pair, ...]
    complete: bool
    events_forgotten: int = 0
    """How many events there were before the first that is remembered."""

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
        try:
            return cls(
                service=str(data["service"]),
                enabled=bool(data["enabled"]),
                started=float(data["started"]),
                events=tuple(_event(each) for each in data["events"]),
                connections=tuple(_record(Connection, each) for each in data["connections"]),
                pairs=tuple(_record(Pair, each) for each in data["pairs"]),
                complete=not any(data[f"{part}_forgotten"] for part in ("events", "connections", "pairs")),
                events_forgotten=int(data["events_forgotten"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ControlError(f"not a ledger: {type(error).__name__} {error}") from error

    def events_of(self, kind: str, **wanted: Any) -> tuple[Event, ...]:
        """The events of one kind whose fields have these values."""
        return tuple(
            event
            for event in self.events
            if event.kind == kind and all(event.fields.get(key) == value for key, value in wanted.items())
        )

    def connections_of(self, identity: str) -> tuple[Connection, ...]:
        """The connections on which that identity logged in."""
        return tuple(each for each in self.connections if each.identity == identity)

    def connection_from(self, remote: str) -> Connection | None:
        """The newest connection whose client end is `address:port`."""
        return next((each for each in reversed(self.connections) if each.remote == remote), None)

    def pair(self, source: str, destination: str) -> Pair:
        """What went from one node ID to another: zeros when nothing did."""
        for each in self.pairs:
            if (each.source, each.destination) == (source, destination):
                return each
        return Pair(source, destination, 0, 0, 0)


@dataclass(frozen=True)
class Tally:
    """Payloads of one class: packets, and bytes without any header of TURN."""

    packets: int
    bytes: int


@dataclass(frozen=True)
class Allocation:
    """One allocation of a TURN server; what it carried is by class (`stun`, `dtls`, `rtp`, `other`), of all peers."""

    id: int
    client: str
    """`address:port` of the client's end."""
    relayed: tuple[str, ...]
    """`address:port` of its relays."""
    closed: float | None
    to_peer: Mapping[str, Tally]
    to_client: Mapping[str, Tally]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Allocation:
        return cls(
            id=int(data["id"]),
            client=str(data["client"]),
            relayed=tuple(str(each) for each in data["relayed"]),
            closed=data["closed"],
            to_peer=_sum_of(peer["to_peer"] for peer in data["peers"]),
            to_client=_sum_of(peer["to_client"] for peer in data["peers"]),
        )


@dataclass(frozen=True)
class TurnLedger:
    """What the TURN service carried. `complete` is False when bounds made it forget an allocation."""

    allocations: tuple[Allocation, ...]
    complete: bool

    @classmethod
    def parse(cls, data: object) -> TurnLedger:
        """Read the JSON of docs/control-protocol.md. Anything else is a `ControlError`."""
        ServiceLedger.parse(data)
        assert isinstance(data, Mapping)
        try:
            return cls(
                tuple(Allocation.parse(each) for each in data["allocations"]),
                complete=not data["allocations_forgotten"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ControlError(f"not a ledger of TURN: {type(error).__name__} {error}") from error

    def allocation_at(self, relayed: str) -> Allocation | None:
        """The newest allocation with that relay, `address:port`."""
        return next((each for each in reversed(self.allocations) if relayed in each.relayed), None)


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of a server's services at one moment. `turn`: None where the server has no such service."""

    mail: ServiceLedger
    iroh_relay: ServiceLedger
    turn: TurnLedger | None = None


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
        """What the services have seen since they started."""
        result = self._request("ledger")
        if not isinstance(result, Mapping):
            raise ControlError("the verb ledger answers an object")
        return Ledgers(
            mail=ServiceLedger.parse(result.get("mail")),
            iroh_relay=ServiceLedger.parse(result.get("iroh_relay")),
            turn=TurnLedger.parse(result["turn"]) if "turn" in result else None,
        )

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
            raise ControlError(f"no answer from the control socket {self.path}: {error}") from error
        return _result(reply, verb)


def _result(reply: bytes, verb: str) -> Any:
    if not reply.endswith(b"\n"):
        raise ControlError(f"the control socket closed before it answered {verb}")
    try:
        answer = json.loads(reply)
    except ValueError as error:
        raise ControlError(f"the control socket answered {verb} with something that is not JSON") from error
    if not isinstance(answer, Mapping) or answer.get("v") != VERSION:
        raise ControlError(f"the control socket does not speak control protocol {VERSION}")
    if not answer.get("ok"):
        raise ControlError(f"{verb} was refused: {answer.get('error')}")
    return answer.get("result")


def _event(data: Mapping[str, Any]) -> Event:
    rest = {key: value for key, value in data.items() if key not in ("time", "kind")}
    return Event(float(data["time"]), str(data["kind"]), rest)


def _sum_of(tallies: Iterable[Mapping[str, Mapping[str, Any]]]) -> Mapping[str, Tally]:
    total: dict[str, Tally] = {}
    for each in tallies:
        for kind, count in each.items():
            before = total.get(kind, Tally(0, 0))
            total[kind] = Tally(before.packets + int(count["packets"]), before.bytes + int(count["bytes"]))
    return total


def _record(kind: type[Record], data: Mapping[str, Any]) -> Record:
    """Take the fields that we know; a newer server may say more."""
    return kind(**{each.name: data[each.name] for each in fields(kind)})
