"""One connection as the hub sees it: log-in state, queues of what its socket does not take, deadlines."""

from __future__ import annotations

from collections import deque
from enum import Enum, IntEnum, auto

from ..ledger import ConnectionRecord, PairRecord
from .framing import frame_spans
from .limits import Meter, RelayLimits

__all__ = ["Client", "Lane", "Queue", "State"]

BATCH = 256 * 1024
"""Bytes that are taken out of the queues at once."""


class State(Enum):
    WAITING = auto()
    """for the log-in"""
    ASKING = auto()
    """the access list"""
    READY = auto()
    """registered"""
    GONE = auto()
    """closed; the hub does not know it any more"""


class Lane(IntEnum):
    """Queues of one client in the order in which they are written."""

    REPLY = 0
    DISCO = 1
    PACKET = 2
    GONE = 3


class Queue:
    """Runs of whole frames, first in first out, bounded in frames and bytes; the newest frames are dropped."""

    __slots__ = ("_max_bytes", "_max_frames", "_runs", "bytes", "frames")

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._runs: deque[tuple[bytes, int]] = deque()
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self.frames = 0
        self.bytes = 0

    def __bool__(self) -> bool:
        return bool(self._runs)

    def push(self, data: bytes, frames: int) -> tuple[int, int]:
        """Keep what fits; returns how many frames and bytes were kept."""
        frames_left, bytes_left = self._max_frames - self.frames, self._max_bytes - self.bytes
        if frames > frames_left or len(data) > bytes_left:
            fitting = [stop for _, stop in frame_spans(data) if stop <= bytes_left][:frames_left]
            frames = len(fitting)
            data = data[: fitting[-1]] if fitting else b""
        if frames:
            self._runs.append((data, frames))
            self.frames += frames
            self.bytes += len(data)
        return frames, len(data)

    def pop(self) -> tuple[bytes, int]:
        data, frames = self._runs.popleft()
        self.frames -= frames
        self.bytes -= len(data)
        return data, frames


class Client:
    """Belongs to the hub; the shell reads `key`, `record`, `state` and whether something is `blocked`."""

    __slots__ = (
        "blocked",
        "challenge",
        "heard_from",
        "key",
        "lanes",
        "last_received",
        "login_until",
        "meter",
        "outgoing",
        "ping",
        "ping_after",
        "pong_until",
        "rate_limited",
        "record",
        "scheduled",
        "sent_to",
        "stalled_at",
        "state",
        "strangers",
        "unsent",
        "version",
        "was_rate_limited",
    )

    def __init__(
        self, record: ConnectionRecord, meter: Meter, limits: RelayLimits, login_until: float
    ) -> None:
        self.record = record
        self.meter = meter
        self.state = State.WAITING
        self.key = b""
        self.version = 0
        """The protocol that it speaks: the number that it signed (generation 0.35), or 1 or 2 (`iroh-relay-v...`)."""
        self.challenge = b""
        """The bytes that it has to sign, where the generation has a challenge."""
        self.lanes = tuple(Queue(limits.queue_frames, limits.queue_bytes) for _ in Lane)
        self.outgoing: list[bytes] = []
        """Frames that this turn of the hub writes at its end, in one piece."""
        self.blocked = False
        self.unsent = 0
        self.rate_limited = False
        self.was_rate_limited = False
        self.ping: bytes | None = None
        """Content of the ping that was not answered yet."""
        self.login_until = login_until
        self.last_received = 0.0
        self.ping_after = 0.0
        """Seconds of silence."""
        self.pong_until = 0.0
        self.stalled_at = 0.0
        self.scheduled = float("inf")
        """The one entry of the hub's heap that counts for this client."""
        self.sent_to: dict[Client, PairRecord] = {}
        self.heard_from: set[Client] = set()
        self.strangers: dict[bytes, PairRecord] = {}

    @property
    def takes_frames(self) -> bool:
        return self.state is State.READY or self.state is State.WAITING

    def next_deadline(self) -> float:
        """Time at which something is due if nothing more happens."""
        if self.state is not State.READY:
            due = self.login_until
        elif self.rate_limited:
            due = self.meter.resume_at
        elif self.ping is not None:
            due = self.pong_until
        else:
            due = self.last_received + self.ping_after
        return min(due, self.stalled_at) if self.blocked else due

    def next_batch(self) -> tuple[bytes, int]:
        """Take the next frames out of the queues, by priority: about 256 kB of them, and their number."""
        runs: list[bytes] = []
        size = frames = 0
        for lane in self.lanes:
            while lane and size < BATCH:
                data, number = lane.pop()
                runs.append(data)
                size += len(data)
                frames += number
        return b"".join(runs), frames
