"""The hub of generation 0.35: log-in by one signed frame, the newest connection of a key wins."""

from __future__ import annotations

from collections.abc import Callable

from ..client import Client, Lane, State
from ..framing import FrameError
from ..hub import DISCO_MAGIC, PACKET_HEAD, Hub, Parts
from ..limits import Meter, Unlimited
from ..signatures import LoginRefused
from . import handshake
from .frames import (
    MAX_BODY,
    ClientInfo,
    FrameType,
    Health,
    NodeGone,
    Ping,
    Pong,
    decode,
    encode,
)

__all__ = ["Hub035"]

DISCO_LENGTH = 38
"""Bytes of the shortest disco packet. Packets of real nodes never count as one: a length stands before them."""


class Hub035(Hub):
    """Clients that speak `iroh derp http`, or a WebSocket without a subprotocol."""

    SEND, RECV = FrameType.SEND_PACKET, FrameType.RECV_PACKET
    SENT_TYPES = frozenset({FrameType.SEND_PACKET})
    LONGEST = MAX_BODY
    OVERHEAD = PACKET_HEAD.size

    def __init__(
        self, parts: Parts, meter: Callable[[], Meter] = Unlimited, *, send_node_gone: bool = False
    ) -> None:
        super().__init__(parts, meter)
        self._send_node_gone = send_node_gone

    def _greet(self, client: Client) -> None:
        """The client speaks first, and is never told that it is logged in."""

    def _log_in(self, client: Client, kind: int, body: bytes) -> None:
        info = decode(kind, body, valid_key=self._valid_key)
        if not isinstance(info, ClientInfo):
            raise LoginRefused("the first frame is not ClientInfo")
        client.version = handshake.verify(info, self._signatures)
        client.key = info.key

    def _deny(self, client: Client) -> None:
        self._enqueue(client, Lane.REPLY, encode(Health("not authenticated")), 1)

    def _welcome(self, client: Client, now: float) -> None:
        if client.version != handshake.PROTOCOL_VERSION:
            self._end(client, f"protocol version {client.version} is not spoken here")
            return
        older = self._registered.get(client.key)
        self._register(client, now)
        if older is not None:
            self._end(older, "replaced by a newer connection")

    def _forward_one(self, client: Client, frame: memoryview) -> None:
        if len(frame) < PACKET_HEAD.size:
            raise FrameError("frame is too short for its key")
        _, length, key = PACKET_HEAD.unpack_from(frame)
        payload = frame[PACKET_HEAD.size :]
        disco = len(payload) >= DISCO_LENGTH and payload[: len(DISCO_MAGIC)] == DISCO_MAGIC
        lane = Lane.DISCO if disco else Lane.PACKET
        destination = self._registered.get(key)
        if destination is None:
            self._drop(client, key, lane, len(payload))
        else:
            PACKET_HEAD.pack_into(frame, 0, self.RECV, length, client.key)
            self._deliver(client, destination, lane, bytes(frame), overhead=self.OVERHEAD)

    def _handle(self, client: Client, kind: int, body: bytes, now: float) -> None:
        match decode(kind, body, valid_key=self._valid_key):
            case Ping(data):
                self._was_pinged(client, encode(Pong(data)))
            case Pong(data):
                self._was_ponged(client, data, now)
            case Health():
                raise FrameError("Health is for the relay to send")
            case _:
                self.counters.unknown_frames += 1

    def _leave(self, client: Client) -> None:
        if self._registered.get(client.key) is client:
            del self._registered[client.key]
            self._tell_gone(client)

    def _tell_gone(self, client: Client) -> None:
        """Do what upstream means to do; up to 0.97 the notice goes to the dying client itself, that is to nobody."""
        if self._send_node_gone:
            for destination in client.sent_to:
                if destination.state is State.READY:
                    self._enqueue(destination, Lane.GONE, encode(NodeGone(client.key)), 1)

    def _encode_ping(self, data: bytes) -> bytes:
        return encode(Ping(data))

    def _protocol(self, _client: Client) -> str:
        return "0.35"
