"""A small client of an iroh relay that speaks `iroh-relay-v1` or `-v2`, as nodes since iroh 0.91 do.

The WebSocket is the `websockets` library's; what is said in it was written from the specification.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ...hosts import Host
from ...urls import RelayUrl
from ...waiting import Deadline
from .client import Packet, RelayClient, RelayClosed, RelayError, receive_some, send_all
from .frames_v1 import FrameType, client_auth, datagram, message_to_sign, read_datagram

__all__ = ["PROTOCOLS", "RelayClientV1", "RelayDenied", "RelayNoProtocol"]

PROTOCOLS = ("iroh-relay-v2", "iroh-relay-v1")
"""WebSocket subprotocols that a node offers, best first."""
MAX_MESSAGE = 1024 * 1024
SAME_ID_CONNECTED = 1


class RelayDenied(RelayError):
    """The relay refused the log-in and said why."""


class RelayNoProtocol(RelayError):
    """The upgrade to a WebSocket succeeded, and the relay chose none of the sub-protocols that were offered."""


class RelayClientV1(RelayClient):
    """A logged-in connection: the constructor returns when the relay has confirmed who we are."""

    def __init__(
        self,
        host: Host,
        url: RelayUrl,
        *,
        offer: Sequence[str] = PROTOCOLS,
        key: Ed25519PrivateKey | None = None,
        sign: Callable[[bytes], bytes] | None = None,
        token: str | None = None,
        answer_pings: bool = True,
        tls: ssl.SSLContext | None = None,
        within: float = 10.0,
    ) -> None:
        """`sign`: from the relay's challenge to 64 bytes to send instead of the right signature. `token`: a secret
        that the relay may want. Raises `RelayDenied` when the relay refuses us, `RelayError` when it is no relay.
        """
        self.protocol = ""
        """The subprotocol that the relay chose."""
        self.active = True
        """True while this connection is the one that gets what is sent to its key, as the relay tells it."""
        self._sign = sign
        self._token = token
        self._challenge: bytes | None = None
        self._confirmed = False
        self._message = bytearray()
        scheme = "wss" if url.secure else "ws"
        address = str(url).partition("://")[2]
        self._websocket = ClientProtocol(
            parse_uri(f"{scheme}://{address}relay"),
            subprotocols=[Subprotocol(each) for each in offer],
            max_size=MAX_MESSAGE,
        )
        super().__init__(host, url, key=key, answer_pings=answer_pings, tls=tls, within=within)

    def send_message(self, message: bytes, *, within: float = 10.0) -> None:
        """Send one binary message as it is: for tests of what a relay does with wrong ones."""
        self._send(self._wrap(message), within)

    def _packet(self, destination: bytes, payload: bytes) -> bytes:
        return self._wrap(datagram(destination, payload))

    def _ping(self, data: bytes) -> bytes:
        return self._wrap(bytes([FrameType.PING]) + data)

    def _wrap(self, message: bytes) -> bytes:
        self._websocket.send_binary(message)
        return b"".join(self._websocket.data_to_send())

    def _upgrade(self, deadline: Deadline) -> None:
        request = self._websocket.connect()
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        self._websocket.send_request(request)
        send_all(self._connection, b"".join(self._websocket.data_to_send()), deadline)
        while not self.protocol:
            data = receive_some(self._connection, "the answer to the upgrade", deadline)
            if not data:
                raise RelayClosed(
                    f"the relay {self.url} closed the connection instead of answering the upgrade"
                )
            self._take(data)

    def _log_in(self, deadline: Deadline) -> None:
        while self._challenge is None:
            self._read("the challenge", deadline)
        sign = self._sign or (lambda challenge: self._key.sign(message_to_sign(challenge)))
        send_all(self._connection, self._wrap(client_auth(self.public_key, sign(self._challenge))), deadline)
        while not self._confirmed:
            self._read("the answer to the log-in", deadline)

    def _take(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Response):
                self._take_answer(event)
            elif isinstance(event, Frame):
                self._take_websocket_frame(event)
        if self._websocket.handshake_exc is not None:
            raise self._refused(self._websocket.handshake_exc)
        if reply := b"".join(self._websocket.data_to_send()):
            self._send(reply, within=10.0)

    def _take_answer(self, response: Response) -> None:
        if self._websocket.handshake_exc is None:
            self.protocol = response.headers.get("Sec-WebSocket-Protocol", "")
            if self.protocol not in PROTOCOLS:
                raise RelayNoProtocol(
                    f"the relay {self.url} chose no protocol of ours in Sec-WebSocket-Protocol"
                )

    def _refused(self, error: Exception) -> RelayError:
        if isinstance(error, InvalidStatus):
            said = (error.response.body or b"")[:200].decode(errors="replace")
            return RelayError(
                f"the relay {self.url} answered {error.response.status_code} instead of 101 Switching Protocols"
                f"{': ' + said if said else ''}: it does not speak {', '.join(PROTOCOLS)}, or a proxy in front "
                f"of it drops the upgrade"
            )
        known = str(error) if isinstance(error, InvalidHandshake) else type(error).__name__
        return RelayError(f"the upgrade to WebSocket at the relay {self.url} went wrong: {known}")

    def _take_websocket_frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.BINARY, Opcode.CONT):
            self._message += frame.data
            if frame.fin:
                message, self._message = bytes(self._message), bytearray()
                self._take_message(message)

    def _take_message(self, message: bytes) -> None:
        try:
            frame_type, body = FrameType(message[0]), message[1:]
            self._take_frame(frame_type, body)
        except (IndexError, ValueError) as error:
            raise RelayError(f"the relay {self.url} sent a message that is no frame: {error}") from error

    def _take_frame(self, frame_type: FrameType, body: bytes) -> None:
        match frame_type:
            case FrameType.SERVER_CHALLENGE:
                self._challenge = body
            case FrameType.SERVER_CONFIRMS_AUTH:
                self._confirmed = True
            case FrameType.SERVER_DENIES_AUTH:
                raise RelayDenied(
                    f"the relay {self.url} refused the log-in: {body[1:].decode(errors='replace')}"
                )
            case FrameType.RECEIVED_DATAGRAM | FrameType.RECEIVED_BATCH:
                source, contents = read_datagram(frame_type, body)
                self._packets.append(Packet(source.hex(), contents))
            case FrameType.PING:
                self._was_pinged(self._wrap(bytes([FrameType.PONG]) + body))
            case FrameType.PONG:
                self._pongs.append(body)
            case FrameType.ENDPOINT_GONE:
                self.gone.append(body.hex())
            case FrameType.HEALTH:
                self.health.append(body.decode(errors="replace"))
                self.active = "healthy" in self.health[-1]
            case FrameType.STATUS:
                self.active = body[0] != SAME_ID_CONNECTED
            case FrameType.RESTARTING:
                pass  # nothing follows from it for a client that lives for seconds
            case _:
                raise RelayError(f"the relay {self.url} sent a {frame_type.name} frame: clients send those")
