"""The hub of `iroh-relay-v1` and `-v2`: log-in by challenge, several connections per key, notices when a key is gone.

Both versions meet in one table: they pack datagrams alike, and differ only in how a client is told about itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum

from ...ledger import PairRecord
from ..client import Client, Lane
from ..framing import FrameError
from ..hub import PACKET_HEAD, Hub, Parts
from ..limits import Meter, Unlimited
from ..signatures import LoginRefused
from . import handshake
from .frames import (
    CHALLENGE_LENGTH,
    MAX_BODY,
    ClientAuth,
    EndpointGone,
    Frame,
    FrameType,
    Health,
    Ping,
    Pong,
    ServerChallenge,
    ServerConfirmsAuth,
    ServerDeniesAuth,
    Status,
    decode,
    encode,
)

__all__ = ["HubV1"]

BATCH_HEAD = struct.Struct(">BI32sBH")
"""PACKET_HEAD, then ecn and segment size."""


class Word(IntEnum):
    """A word to a client about itself; the value is the code of the Status frame."""

    HEALTHY = 0
    SAME_ID_CONNECTED = 1


SENTENCES = {
    Word.HEALTHY: "The connection is healthy and has recovered from previous problems",
    Word.SAME_ID_CONNECTED: "Another endpoint connected with the same endpoint id. "
    "No more messages will be received.",
}
"""The same for version 1, as upstream says it."""


class Endpoint:
    """Everything that is connected with one key."""

    __slots__ = ("connections", "sent_to")

    def __init__(self) -> None:
        self.connections: dict[Client, None] = {}
        """In the order of their log-ins. The last one is active; the others may send, and receive nothing."""
        self.sent_to: set[bytes] = set()
        """Keys that hear of it when the last connection is gone."""


class HubV1(Hub):
    """Clients that negotiated one of the two WebSocket subprotocols; `client.version` is 1 or 2."""

    SEND, RECV = FrameType.CLIENT_TO_RELAY_DATAGRAM, FrameType.RELAY_TO_CLIENT_DATAGRAM
    SENT_TYPES = frozenset({SEND, FrameType.CLIENT_TO_RELAY_DATAGRAM_BATCH})
    LONGEST = MAX_BODY
    OVERHEAD = PACKET_HEAD.size + 1
    """Header, key and ecn."""

    def __init__(self, parts: Parts, meter: Callable[[], Meter] = Unlimited) -> None:
        super().__init__(parts, meter)
        self._endpoints: dict[bytes, Endpoint] = {}

    # Log-in

    def _greet(self, client: Client) -> None:
        client.challenge = self._random.randbytes(CHALLENGE_LENGTH)
        self._say(client, ServerChallenge(client.challenge))

    def _log_in(self, client: Client, kind: int, body: bytes) -> None:
        auth = decode(kind, body, client.version, valid_key=self._valid_key)
        if not isinstance(auth, ClientAuth):
            raise LoginRefused("the first frame is not ClientAuth")
        if not handshake.is_proved(auth, client.challenge, self._signatures):
            self._say(client, ServerDeniesAuth(handshake.SIGNATURE_INVALID))
            raise LoginRefused("bad signature")
        client.key = auth.key

    def _deny(self, client: Client) -> None:
        self._say(client, ServerDeniesAuth(handshake.NOT_AUTHORIZED))

    def _welcome(self, client: Client, now: float) -> None:
        self._say(client, ServerConfirmsAuth())
        active = self._registered.get(client.key)
        self._register(client, now)
        self._endpoints.setdefault(client.key, Endpoint()).connections[client] = None
        if active is not None:
            self.counters.clients_inactive_added += 1
            self._tell(active, Word.SAME_ID_CONNECTED)

    def _leave(self, client: Client) -> None:
        endpoint = self._endpoints[client.key]
        del endpoint.connections[client]
        if endpoint.connections:
            self.counters.clients_inactive_removed += 1
            self._promote(next(reversed(endpoint.connections)))
            return
        del self._endpoints[client.key], self._registered[client.key]
        for key in endpoint.sent_to:
            if (destination := self._registered.get(key)) is not None:
                self._enqueue(destination, Lane.GONE, encode(EndpointGone(client.key)), 1)

    def _promote(self, newest: Client) -> None:
        """The newest of the connections that are left gets the packets; it hears of it unless it did before."""
        if self._registered[newest.key] is not newest:
            self._registered[newest.key] = newest
            self._tell(newest, Word.HEALTHY)

    # Frames

    def _forward_one(self, client: Client, frame: memoryview) -> None:
        batch = frame[0] != self.SEND
        overhead = BATCH_HEAD.size if batch else self.OVERHEAD
        if len(frame) < overhead:
            raise FrameError("datagram is too short for its header")
        _, length, key = PACKET_HEAD.unpack_from(frame)
        destination = self._registered.get(key)
        if destination is None or len(frame) == overhead:
            self._drop(client, key, Lane.PACKET, len(frame) - overhead)  # upstream cannot read empty contents
        elif not batch:
            PACKET_HEAD.pack_into(frame, 0, self.RECV, length, client.key)
            self._deliver(client, destination, Lane.PACKET, bytes(frame), overhead=overhead)
        else:
            run, overhead = _received_batch(frame, length, client.key)
            self._deliver(client, destination, Lane.PACKET, run, overhead=overhead)

    def _handle(self, client: Client, kind: int, body: bytes, now: float) -> None:
        match decode(kind, body, client.version, valid_key=self._valid_key):
            case Ping(data):
                self._was_pinged(client, encode(Pong(data)))
            case Pong(data):
                self._was_ponged(client, data, now)
            case _:
                raise FrameError(f"frame of type {kind} is not for clients to send")

    def _meet(self, source: Client, destination: Client) -> PairRecord:
        sent_to = self._endpoints[source.key].sent_to
        if len(sent_to) >= self._limits.max_connections:
            sent_to.intersection_update(self._registered)
        sent_to.add(destination.key)
        return super()._meet(source, destination)

    # Words

    def _tell(self, client: Client, word: Word) -> None:
        self._say(client, Health(SENTENCES[word]) if client.version == 1 else Status(word))

    def _say(self, client: Client, frame: Frame) -> None:
        self._enqueue(client, Lane.REPLY, encode(frame), 1)

    def _encode_ping(self, data: bytes) -> bytes:
        return encode(Ping(data))

    def _protocol(self, client: Client) -> str:
        return f"iroh-relay-v{client.version}"


def _received_batch(frame: memoryview, length: int, source: bytes) -> tuple[bytes, int]:
    """A batch as its destination sees it, and its overhead. One without a segment size is a single datagram."""
    _, _, _, ecn, segment_size = BATCH_HEAD.unpack_from(frame)
    if segment_size:
        PACKET_HEAD.pack_into(frame, 0, FrameType.RELAY_TO_CLIENT_DATAGRAM_BATCH, length, source)
        return bytes(frame), BATCH_HEAD.size
    head = PACKET_HEAD.pack(FrameType.RELAY_TO_CLIENT_DATAGRAM, length - 2, source)
    single = head + bytes([ecn]) + frame[BATCH_HEAD.size :]
    return single, PACKET_HEAD.size + 1
