"""Every number of the relay for "too much" and "too long", and the rate limit of what a client may send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .framing import frame_spans

__all__ = ["DebtBucket", "Meter", "RateLimit", "RelayLimits", "TokenBucket", "Unlimited"]


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Times are seconds, sizes bytes. The defaults are those of iroh-relay 0.35 where it has such a number."""

    request_timeout: float = 10.0
    """From accept, or from the last answer, to a complete HTTP request."""
    handshake_timeout: float = 10.0
    """From the upgrade to the end of the log-in."""
    tls_handshake_timeout: float = 30.0
    ping_interval: float = 15.0
    """Silence after which the relay pings; up to `ping_jitter` is added, at least a fifth of it."""
    ping_jitter: float = 5.0
    pong_timeout: float = 5.0
    write_timeout: float = 2.0
    """A write without progress for this long ends the connection."""
    access_timeout: float = 5.0
    """For the answer of an `access.http` service; no answer is a no."""
    queue_frames: int = 512
    """Per destination and per queue (packets, disco packets, gone notices, replies); the newest is dropped."""
    queue_bytes: int = 8 * 1024 * 1024
    max_connections: int = 4096
    max_connections_per_address: int = 1024
    max_strangers: int = 256
    """Destinations without a log-in that one connection's drop counters remember."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`limits.client.rx` of iroh-relay.toml. Without a burst each generation has a default of its own."""

    bytes_per_second: int
    max_burst_bytes: int | None = None


class Meter(Protocol):
    """Decides how much of what has arrived may be taken now."""

    resume_at: float
    """Time at which the frame that `admit` held back may be taken."""

    def admit(self, data: bytearray, end: int, now: float, /) -> int:
        """The offset up to which data[:end] may be taken; `end` when nothing is held back."""


class Unlimited:
    resume_at = 0.0

    def admit(self, _data: bytearray, end: int, _now: float, /) -> int:
        return end


class TokenBucket:
    """Generation 0.35: GCRA over bytes read. A frame costs its body and 5; one larger than the whole bucket passes.

    `full_at` is GCRA's theoretical arrival time: when the bucket will be full again.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._seconds_per_byte = 1 / limit.bytes_per_second
        self._burst = limit.max_burst_bytes or limit.bytes_per_second
        self._full_at = 0.0
        self.resume_at = 0.0

    def admit(self, data: bytearray, end: int, now: float, /) -> int:
        for start, stop in frame_spans(memoryview(data)[:end]):
            cost = stop - start
            if cost <= self._burst and not self._take(cost, now):
                return start
        return end

    def _take(self, cost: int, now: float) -> bool:
        full_at = max(self._full_at, now) + cost * self._seconds_per_byte
        earliest = full_at - self._burst * self._seconds_per_byte
        if earliest > now:
            self.resume_at = earliest
            return False
        self._full_at = full_at
        return True


class DebtBucket:
    """`iroh-relay-v1` and `-v2`: bytes read, and no frame is free; by default a tenth of a second's bytes at once.

    A frame is taken as long as the bucket is not empty, and may leave it in debt. So a frame larger than the bucket
    passes in its time, and what a client sends in the long run is `bytes_per_second` exactly.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._seconds_per_byte = 1 / limit.bytes_per_second
        self._burst_seconds = (limit.max_burst_bytes or limit.bytes_per_second / 10) / limit.bytes_per_second
        self._full_at = 0.0
        self.resume_at = 0.0

    def admit(self, data: bytearray, end: int, now: float, /) -> int:
        for start, stop in frame_spans(memoryview(data)[:end]):
            self.resume_at = self._full_at - self._burst_seconds
            if self.resume_at > now:
                return start
            self._full_at = max(self._full_at, now) + (stop - start) * self._seconds_per_byte
        return end
