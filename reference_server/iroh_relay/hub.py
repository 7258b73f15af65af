"""The core of the relay: clients that are logged in, and the forwarding between them. Does no IO, reads no clock.

A hub gets the frames that arrived on a connection (framing.py) and `now` (seconds of any steady clock), and returns
actions for the shell that owns the sockets. Packets are rewritten in place: in the buffer that they arrived in, the
type becomes the relay's and the destination's key the source's. A run of packets for one destination is copied out
once.

`Hub` is what the generations share: queues, deadlines, delivery, coming and going. v035/hub.py and v1/hub.py have
what each does in its own way. Every hub has clients of its own; nothing is forwarded from one hub to another,
because the generations pack their packets differently.
"""

from __future__ import annotations

import heapq
import math
import random
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar, TypeAlias

from ..ledger import ConnectionRecord, Ledger, PairRecord
from .actions import Action, AskAccess, Close, PauseReading, ResumeReading, Write
from .client import Client, Lane, State
from .counters import RelayCounters
from .framing import HEADER, FrameError, frame_end, frame_spans
from .keys import KEY_LENGTH, is_point
from .limits import Meter, RelayLimits, Unlimited
from .signatures import Ed25519Signatures, LoginRefused, SignaturePolicy

__all__ = ["Delivery", "Hub", "Parts", "exactly_once"]

PACKET_HEAD = struct.Struct(">BI32s")
"""Header and key. Packets to and from the relay look alike, which is why one can become the other in place."""
DISCO_MAGIC = "TS💬".encode()
PEEK = struct.Struct(">BI32s6s")
"""PACKET_HEAD and the place of DISCO_MAGIC."""
DISCO, PACKET = Lane.DISCO, Lane.PACKET
"""Looking a member up in its enum takes as long as forwarding a packet."""
FEW = 8192
"""Bytes of a read up to which it is worth while to look for few packets."""
SHORTEST_PEEKED = KEY_LENGTH + len(DISCO_MAGIC)

Delivery: TypeAlias = Callable[[bytes, bytes, bytes], bytes]
"""(source key, destination key, run of whole packets as the destination will see them) -> the frames that it gets."""


def exactly_once(_source: bytes, _destination: bytes, run: bytes) -> bytes:
    """Every packet once, unchanged, in order."""
    return run


@dataclass(frozen=True)
class Parts:
    """Parts that the hubs of one relay have in common."""

    ledger: Ledger
    limits: RelayLimits
    signatures: SignaturePolicy = field(default_factory=Ed25519Signatures)
    delivery: Delivery = exactly_once
    valid_key: Callable[[bytes], bool] = is_point
    counters: RelayCounters = field(default_factory=RelayCounters)


class Hub(ABC):
    """The clients of one generation of the protocol, and the forwarding between them."""

    SEND: ClassVar[int]
    """Type of the packet that is taken in runs, on its way to the relay."""
    RECV: ClassVar[int]
    """The same on its way from the relay."""
    SENT_TYPES: ClassVar[frozenset[int]]
    """Every type that is to be forwarded."""
    LONGEST: ClassVar[Mapping[int, int]]
    """The largest body of each type."""
    OVERHEAD: ClassVar[int]
    """Bytes of a SEND frame that are no payload."""

    def __init__(self, parts: Parts, meter: Callable[[], Meter] = Unlimited) -> None:
        self.counters = parts.counters
        self._ledger = parts.ledger
        self._limits = parts.limits
        self._signatures = parts.signatures
        self._delivery = parts.delivery
        self._valid_key = parts.valid_key
        self._meter = meter
        self._is_plain = meter is Unlimited and parts.delivery is exactly_once
        self._random = random.SystemRandom()
        self._registered: dict[bytes, Client] = {}
        """The connection of each key that gets its packets."""
        self._deadlines: list[tuple[float, int, Client]] = []
        self._ticket = count()
        self._actions: list[Action] = []
        self._written: list[Client] = []

    # What a generation does in its own way

    @abstractmethod
    def _greet(self, client: Client) -> None:
        """A connection was made: say what the relay has to say first."""

    @abstractmethod
    def _log_in(self, client: Client, kind: int, body: bytes) -> None:
        """Take the first frame: set the proved key, or raise `LoginRefused` or `FrameError`."""

    @abstractmethod
    def _deny(self, client: Client) -> None:
        """Tell a client that the access list does not want it."""

    @abstractmethod
    def _welcome(self, client: Client, now: float) -> None:
        """The access list lets the client in: register it."""

    @abstractmethod
    def _forward_one(self, client: Client, frame: memoryview) -> None:
        """Forward one frame of `SENT_TYPES`, which may be overwritten."""

    @abstractmethod
    def _handle(self, client: Client, kind: int, body: bytes, now: float) -> None:
        """Take any other frame of a registered client."""

    @abstractmethod
    def _leave(self, client: Client) -> None:
        """A registered client has gone: its place in the table, and who is to be told."""

    @abstractmethod
    def _encode_ping(self, data: bytes) -> bytes: ...

    @abstractmethod
    def _protocol(self, client: Client) -> str:
        """The ledger's name of the protocol that the client speaks."""

    # What the shell reports

    def connect(self, record: ConnectionRecord, now: float, version: int = 0) -> tuple[Client, list[Action]]:
        """A connection was upgraded to protocol `version`, where that was negotiated; now it has to log in."""
        client = Client(record, self._meter(), self._limits, now + self._limits.handshake_timeout)
        client.version = version
        self._schedule(client)
        self._greet(client)
        return client, self._take_actions()

    def receive(self, client: Client, data: bytearray, end: int, now: float) -> tuple[int, list[Action]]:
        """Take whole frames from the front of data[:end], which is overwritten.

        Returns how many bytes were taken, and actions. The rest has to be handed over again: with more behind it, or
        after `ResumeReading`. While reading is not paused the rest is shorter than one frame.
        """
        limit = client.meter.admit(data, end, now) if client.state is State.READY else end
        view = memoryview(data)
        position = 0
        try:
            while position < limit and client.takes_frames:
                after = self._forward(client, view, position, limit)
                after = after or self._take_one(client, view, position, limit, now)
                if not after:
                    break
                position = after
        except (FrameError, LoginRefused) as error:
            self._end(client, str(error))
        if position:
            client.last_received = now
        if limit < end and client.state is State.READY:
            self._hold_back(client)
        return position, self._take_actions()

    def forward_few(
        self, client: Client, data: bytearray, end: int, now: float
    ) -> tuple[Client, bytes] | None:
        """Forward data[:end], which is overwritten, where it is a few simple packets for one client, and return both.

        None for all else, which is for `receive`, and untouched. It does the same with less: packets of who says little
        come one by one, and each costs a turn.
        """
        if not self._is_plain or end > FEW or client.state is not State.READY:
            return None
        send, longest, peek = self.SEND, self.LONGEST[self.SEND], PEEK.unpack_from
        heads: list[tuple[int, int]] = []
        position, last, first = 0, end - PEEK.size, b""
        while position <= last:
            kind, length, key, content = peek(data, position)
            if kind != send or content == DISCO_MAGIC or not SHORTEST_PEEKED <= length <= longest:
                return None
            if key != first:
                if heads:
                    return None
                first = key
            heads.append((position, length))
            position += HEADER.size + length
        destination = self._registered.get(first)
        if position != end or destination is None or destination.blocked:
            return None
        pair = client.sent_to.get(destination)
        if pair is None:
            return None
        for start, length in heads:
            PACKET_HEAD.pack_into(data, start, self.RECV, length, client.key)
        frames = len(heads)
        size = end - frames * self.OVERHEAD
        client.last_received = now
        client.record.frames_in += frames
        destination.record.frames_out += frames
        pair.frames += frames
        pair.bytes += size
        self.counters.count_received(False, frames, size)
        self.counters.count_sent(False, frames, size)
        return destination, memoryview(data)[:end].tobytes()

    def decide(self, client: Client, allowed: bool, now: float) -> list[Action]:
        """The access list's answer for a client that has proved its key."""
        if client.state is not State.ASKING:
            return []
        if not allowed:
            self._deny(client)
            self._end(client, "access denied")
            return self._take_actions()
        self._welcome(client, now)
        if client.takes_frames:
            self._actions.append(ResumeReading(client))
        return self._take_actions()

    def blocked(self, client: Client, unsent: int, now: float) -> None:
        """The connection's socket takes no more for now; `unsent` bytes wait in front of it."""
        client.blocked = True
        client.unsent = unsent
        client.stalled_at = now + self._limits.write_timeout
        self._schedule(client)

    def drain(self, client: Client) -> bytes:
        """Take what is to be written next, now that the socket takes bytes again; empty when nothing is left."""
        data, frames = client.next_batch()
        client.record.frames_out += frames
        client.blocked = bool(data)
        return data

    def disconnected(self, client: Client, reason: str) -> list[Action]:
        """The connection has ended."""
        self._forget(client, reason)
        return self._take_actions()

    def end(self, client: Client, reason: str) -> list[Action]:
        """End a connection whose bytes were no frames at all."""
        self._end(client, reason)
        return self._take_actions()

    def next_deadline(self) -> float:
        """Time at which `expire` wants to be called, or infinity; it may find then that nothing is due."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    def expire(self, now: float, unsent: Callable[[Client], int]) -> list[Action]:
        """Do what is due. `unsent` tells how many bytes wait in front of a blocked client's socket."""
        while self._deadlines and self._deadlines[0][0] <= now:
            when, _, client = heapq.heappop(self._deadlines)
            if when != client.scheduled:
                continue  # a nearer deadline took its place
            client.scheduled = float("inf")
            if client.state is not State.GONE:
                self._expire(client, now, unsent)
            if client.state is not State.GONE:
                self._schedule(client)
        return self._take_actions()

    # Frames

    def _forward(self, client: Client, data: memoryview, start: int, end: int) -> int:
        """Forward the simple packets from `start` on, a run for each destination, and return where they end.

        Simple is what is whole, not disco, and for somebody who is logged in; 0 where the first one is not. A busy
        sender alternates between its peers, so one read brings packets for many: each gets its own in one piece, in
        the order in which they were sent.
        """
        if client.state is not State.READY:
            return 0
        peek, rewrite, source = PEEK.unpack_from, PACKET_HEAD.pack_into, client.key
        send, recv, longest = self.SEND, self.RECV, self.LONGEST[self.SEND]
        runs: dict[bytes, list[memoryview]] = {}
        counts: dict[bytes, int] = {}
        pieces: list[memoryview] = []
        current = b""
        position, last, beginning, frames = start, end - PEEK.size, start, 0
        while position <= last:
            kind, length, key, content = peek(data, position)
            after = position + HEADER.size + length
            if kind != send or after > end or content == DISCO_MAGIC:
                break
            if not SHORTEST_PEEKED <= length <= longest:
                break
            if key != current:
                if frames:
                    pieces.append(data[beginning:position])
                    counts[current] += frames
                    frames = 0
                if key not in runs:
                    if key not in self._registered:
                        break
                    runs[key], counts[key] = [], 0
                pieces, current, beginning = runs[key], key, position
            rewrite(data, position, recv, length, source)
            position = after
            frames += 1
        if not runs:
            return 0
        if frames:
            pieces.append(data[beginning:position])
            counts[current] += frames
        for key, run in runs.items():
            destination, number = self._registered[key], counts[key]
            self._deliver(client, destination, PACKET, b"".join(run), frames=number, overhead=self.OVERHEAD)
        client.record.frames_in += sum(counts.values())
        return position

    def _take_one(self, client: Client, data: memoryview, start: int, end: int, now: float) -> int:
        """Take the frame at `start`, whatever it is, and return where it ends; 0 while it is incomplete."""
        stop = frame_end(data, start, end, self.LONGEST)
        if stop is None:
            return 0
        kind = data[start]
        client.record.frames_in += 1
        if client.state is State.WAITING:
            self._log_in(client, kind, bytes(data[start + HEADER.size : stop]))
            client.state = State.ASKING
            self._actions.append(AskAccess(client))
        elif kind in self.SENT_TYPES:
            self._forward_one(client, data[start:stop])
        else:
            self._handle(client, kind, bytes(data[start + HEADER.size : stop]), now)
        return stop

    def _deliver(
        self,
        client: Client,
        destination: Client,
        lane: Lane,
        run: bytes,
        *,
        frames: int = 1,
        overhead: int,
    ) -> None:
        """Hand a run of whole packets to their destination, as often as the delivery strategy says.

        `overhead` is the number of bytes in each of them that are no payload.
        """
        pair = client.sent_to.get(destination) or self._meet(client, destination)
        data = self._delivery(client.key, destination.key, run)
        offered = frames if len(data) == len(run) else sum(1 for _ in frame_spans(data))
        kept, size = self._enqueue(destination, lane, data, offered)
        payload = size - kept * overhead
        pair.frames += kept
        pair.bytes += payload
        pair.frames_dropped += offered - kept
        disco = lane is DISCO
        self.counters.count_received(disco, frames, len(run) - frames * overhead)
        self.counters.count_sent(disco, kept, payload)

    def _drop(self, client: Client, key: bytes, lane: Lane, size: int) -> None:
        """A packet for somebody who is not here: nobody is told, the counters know."""
        pair = client.strangers.get(key)
        if pair is None:
            if not self._valid_key(key):
                raise FrameError("these 32 bytes are not an ed25519 public key")
            if len(client.strangers) >= self._limits.max_strangers:
                client.strangers.clear()
            pair = client.strangers[key] = self._ledger.pair(client.key.hex(), key.hex())
        pair.frames_dropped += 1
        self.counters.count_received(lane is DISCO, 1, size)
        self.counters.count_dropped(lane is DISCO, 1)

    def _was_pinged(self, client: Client, pong: bytes) -> None:
        self.counters.got_ping += 1
        self.counters.sent_pong += 1
        self._enqueue(client, Lane.REPLY, pong, 1)

    def _was_ponged(self, client: Client, data: bytes, now: float) -> None:
        if data == client.ping:
            client.ping = None
            client.last_received = now
            self._schedule(client)  # the next ping may be due before this one's answer was

    def _enqueue(self, client: Client, lane: Lane, data: bytes, frames: int) -> tuple[int, int]:
        """Write at the end of this turn, or queue while the socket is full; returns frames and bytes kept."""
        if client.blocked:
            return client.lanes[lane].push(data, frames)
        if not client.outgoing:
            self._written.append(client)
        client.outgoing.append(data)
        client.record.frames_out += frames
        return frames, len(data)

    # Coming and going

    def _register(self, client: Client, now: float) -> None:
        """The client is the one that gets the packets for its key from now on."""
        self._registered[client.key] = client
        client.state = State.READY
        record = client.record
        record.identity = client.key.hex()
        client.last_received = now
        self._choose_ping_time(client)
        self._schedule(client)
        self.counters.accepts += 1
        self.counters.unique_client_keys += 1
        self._ledger.event(
            "login",
            node_id=record.identity,
            remote=record.remote,
            connection=record.id,
            protocol=self._protocol(client),
        )

    def _meet(self, source: Client, destination: Client) -> PairRecord:
        pair = source.sent_to[destination] = self._ledger.pair(source.key.hex(), destination.key.hex())
        destination.heard_from.add(source)
        return pair

    def _end(self, client: Client, reason: str, *, flush: bool = True) -> None:
        if client.state is not State.GONE:
            self._actions.append(Close(client, flush))
            self._forget(client, reason)

    def _forget(self, client: Client, reason: str) -> None:
        was_ready, record = client.state is State.READY, client.record
        if client.state is State.GONE:
            return
        client.state = State.GONE
        if not was_ready:
            self._ledger.event("login_refused", remote=record.remote, reason=reason)
            return
        self.counters.disconnects += 1
        self._ledger.event("disconnect", node_id=record.identity, connection=record.id, reason=reason)
        self._leave(client)
        for destination in client.sent_to:
            destination.heard_from.discard(client)
        for source in client.heard_from:
            source.sent_to.pop(client, None)

    # Time

    def _schedule(self, client: Client) -> None:
        """See to it that `expire` looks at the client in time; an entry that turns out too early does no harm."""
        when = client.next_deadline()
        if when < client.scheduled:
            client.scheduled = when
            heapq.heappush(self._deadlines, (when, next(self._ticket), client))

    def _expire(self, client: Client, now: float, unsent: Callable[[Client], int]) -> None:
        limits = self._limits
        if client.blocked and client.stalled_at <= now:
            left = unsent(client)
            if left >= client.unsent:
                self._end(client, f"took no bytes for {limits.write_timeout:g} s", flush=False)
                return
            client.unsent, client.stalled_at = left, now + limits.write_timeout
        if client.state is not State.READY:
            if client.login_until <= now:
                self._end(client, f"no log-in within {limits.handshake_timeout:g} s")
        elif client.rate_limited:
            if client.meter.resume_at <= now:
                client.rate_limited = False
                client.last_received = now
                client.pong_until = now + limits.pong_timeout  # its answer may be among what we did not read
                self._actions.append(ResumeReading(client))
        elif client.ping is not None:
            if client.pong_until <= now:
                self._end(client, f"no pong within {limits.pong_timeout:g} s", flush=False)
        elif client.last_received + client.ping_after <= now:
            self._ping(client, now)

    def _ping(self, client: Client, now: float) -> None:
        client.ping = self._random.randbytes(8)
        client.pong_until = now + self._limits.pong_timeout
        self._enqueue(client, Lane.REPLY, self._encode_ping(client.ping), 1)
        self._choose_ping_time(client)

    def _choose_ping_time(self, client: Client) -> None:
        jitter = self._limits.ping_jitter
        client.ping_after = self._limits.ping_interval + self._random.uniform(jitter / 5, jitter)

    def _hold_back(self, client: Client) -> None:
        self.counters.frames_rx_ratelimited_total += 1
        if not client.was_rate_limited:
            client.was_rate_limited = True
            self.counters.conns_rx_ratelimited_total += 1
        client.rate_limited = True
        self._schedule(client)
        self._actions.append(PauseReading(client))

    def _take_actions(self) -> list[Action]:
        """One write per client, then the rest, so that a last word goes out before its connection closes."""
        actions: list[Action] = []
        for client in self._written:
            actions.append(Write(client, b"".join(client.outgoing)))
            client.outgoing.clear()
        self._written.clear()
        actions += self._actions
        self._actions.clear()
        return actions
