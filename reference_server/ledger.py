"""An account of what a service saw and carried: the server's own witness.

A ledger is in memory, bounded, and only kept with `--ledger`; a real chatmail server keeps no such thing.
Counting is always on, because it costs one addition; *remembering* is what the switch turns on.

`Ledger.snapshot()` returns plain JSON data in the shape that docs/control-protocol.md describes.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["ConnectionRecord", "Ledger", "PairRecord"]

MAX_EVENTS = 20_000
MAX_CONNECTIONS = 20_000
MAX_PAIRS = 20_000


@dataclass(slots=True)
class ConnectionRecord:
    """Counters of one accepted connection; bytes are those read from and written to the socket."""

    id: int
    listener: str
    remote: str
    opened: float
    identity: str | None = None
    """The client that logged in: a mail address, or an iroh node ID as 64 hex digits."""
    closed: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    frames_in: int = 0
    frames_out: int = 0


@dataclass(slots=True)
class PairRecord:
    """Traffic from one iroh endpoint to another: frames and payload bytes, forwarded and dropped apart."""

    source: str
    destination: str
    frames: int = 0
    bytes: int = 0
    frames_dropped: int = 0


class Ledger:
    """Events and counters of one service. `clock` gives unix seconds."""

    def __init__(self, service: str, *, enabled: bool, clock: Callable[[], float] = time.time) -> None:
        self.service = service
        self.enabled = enabled
        self._clock = clock
        self._started = clock()
        self._events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        self._events_seen = 0
        self._connections: OrderedDict[int, ConnectionRecord] = OrderedDict()
        self._connections_seen = 0
        self._pairs: OrderedDict[tuple[str, str], PairRecord] = OrderedDict()
        self._pairs_seen = 0

    def event(self, kind: str, **fields: Any) -> None:
        """Remember that something happened. Fields are JSON values and never secrets."""
        if not self.enabled:
            return
        self._events_seen += 1
        self._events.append({"time": self._clock(), "kind": kind, **fields})

    def connection(self, listener: str, remote: str) -> ConnectionRecord:
        """Open a record; the caller counts on it and calls `closed` at the end."""
        self._connections_seen += 1
        record = ConnectionRecord(self._connections_seen, listener, remote, self._clock())
        if self.enabled:
            self._connections[record.id] = record
            if len(self._connections) > MAX_CONNECTIONS:
                self._connections.popitem(last=False)
        return record

    def closed(self, record: ConnectionRecord) -> None:
        record.closed = self._clock()

    def pair(self, source: str, destination: str) -> PairRecord:
        """The counters from one node ID to another, created at first use."""
        key = (source, destination)
        record = self._pairs.get(key)
        if record is None:
            self._pairs_seen += 1
            record = PairRecord(source, destination)
            if self.enabled:
                self._pairs[key] = record
                if len(self._pairs) > MAX_PAIRS:
                    self._pairs.popitem(last=False)
        return record

    def snapshot(self) -> dict[str, Any]:
        """Everything that is remembered, as JSON data; the `_forgotten` numbers say what the bounds cost."""
        return {
            "version": 1,
            "service": self.service,
            "enabled": self.enabled,
            "started": self._started,
            "events": list(self._events),
            "events_forgotten": self._events_seen - len(self._events),
            "connections": [asdict(record) for record in self._connections.values()],
            "connections_forgotten": self._connections_seen - len(self._connections),
            "pairs": [asdict(record) for record in self._pairs.values()],
            "pairs_forgotten": self._pairs_seen - len(self._pairs),
        }
