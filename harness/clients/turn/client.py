"""A scripted TURN client: sends what WebRTC stacks cannot, and says in plain words what the server answered.

Requests go out with the credentials, realm and attributes that a check wants. UDP, TCP and TLS; one socket, which
is one 5-tuple and so at most one allocation. Errors are sentences for whoever runs the server.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ...closing import Closing
from ...errors import plain
from ...hosts import Host
from ...urls import TurnUrl
from ...waiting import Deadline, WaitTimeout
from .messages import (
    Address,
    Attribute,
    ChannelData,
    FormatError,
    Message,
    MessageClass,
    Method,
    StreamDecoder,
    address_value,
    decode,
    integrity_holds,
    long_term_key,
    read_address,
    read_plain_address,
)

__all__ = [
    "Allocation",
    "Received",
    "TurnClient",
    "TurnClosed",
    "TurnCredentials",
    "TurnError",
    "TurnOpen",
    "TurnRefused",
]

UDP_PROTOCOL = 17
FAMILIES = {4: 1, 6: 2}
"""IP version and its number in REQUESTED-ADDRESS-FAMILY."""
RETRANSMIT_AFTER = 0.5
"""Seconds; UDP may lose a request (RFC 8489, 6.2.1)."""
MAX_DATAGRAM = 64 * 1024
MAX_WAITING = 10_000
"""Payloads that nobody asked for yet; the oldest go first."""
HINTS = {
    401: "it does not accept this username, password or realm, or the username has expired",
    403: "it does not relay to this peer",
    437: "this 5-tuple has no allocation, or one already",
    438: "the nonce is too old or was given to another address",
    441: "the allocation belongs to another username",
    486: "a quota is used up",
    508: "no relay port is left, or none that fits",
}


class TurnError(Exception):
    """The TURN server cannot be used. The text says what it did. `over_tls`: it was asked over TLS."""

    def __init__(self, text: str, *, over_tls: bool = False) -> None:
        self.over_tls = over_tls
        super().__init__(text)


class TurnClosed(TurnError):
    """Nothing listens, or the server ended the connection."""


class TurnOpen(TurnError):
    """It grants what was asked for without credentials."""


class TurnRefused(TurnError):
    """An error answer. `signed`: with a MESSAGE-INTEGRITY of the request's key, without which aioice ignores it.

    `alternate`: the server that it names to be asked in its place (300 Try Alternate).
    """

    def __init__(
        self,
        server: TurnUrl,
        method: Method,
        code: int,
        words: str,
        *,
        signed: bool,
        alternate: Address | None = None,
    ) -> None:
        self.code = code
        self.words = words
        self.signed = signed
        self.alternate = alternate
        hint = f" ({HINTS[code]})" if code in HINTS else ""
        super().__init__(f"{server} refuses {method} with {code} {words}".rstrip() + hint)


@dataclass(frozen=True)
class TurnCredentials:
    """A username with its password; `realm` overrides what the server says that its realm is."""

    username: str
    password: str = field(repr=False)
    realm: str | None = None

    @classmethod
    def from_secret(cls, secret: str, expires: int | str) -> TurnCredentials:
        """Credentials that a server with this secret hands out: the username is the second at which they expire."""
        signature = hmac.digest(secret.encode(), str(expires).encode(), "sha1")
        return cls(str(expires), base64.b64encode(signature).decode())


@dataclass(frozen=True)
class Allocation:
    """A relayed transport address, ours as the server sees it, seconds to live, and a token for the next port."""

    relayed: Address
    mapped: Address
    lifetime: int
    token: bytes | None = None
    family_refused: int | None = None
    """The error code for the additional family (ADDRESS-ERROR-CODE), if that was not given."""


@dataclass(frozen=True)
class Received:
    """A payload from a peer: over a channel, or in a Data indication with the peer's address."""

    data: bytes
    peer: Address | None = None
    channel: int | None = None


class TurnClient(Closing):
    """One 5-tuple to a TURN server; `with TurnClient(...) as client:` closes it.

    `within` is a number of seconds for each answer. Silence is a `WaitTimeout`, an error answer `TurnRefused`,
    everything else that is wrong `TurnError`.
    """

    def __init__(
        self,
        host: Host,
        server: TurnUrl,
        credentials: TurnCredentials,
        *,
        tls: ssl.SSLContext | None = None,
        within: float = 10.0,
    ) -> None:
        """Open the socket; nothing is asked yet. `tls`: what verifies the server's certificate."""
        self.server = server
        self.credentials = credentials
        self.within = within
        self.last_request = b""
        """The latest request as it was sent, for replays."""
        self.last_answer = b""
        """The latest answer as it arrived."""
        self.stale_nonces = 0
        """Number of times that the server asked for a fresh nonce (438)."""
        self._realm = ""
        self._nonce: bytes | None = None
        self._payloads: deque[Received] = deque(maxlen=MAX_WAITING)
        self._stream = None if server.transport == "udp" else StreamDecoder()
        self._frames: deque[bytes] = deque()
        self._host, self._tls = host, tls
        self._socket = self._connect(host, tls)
        name = self._socket.getsockname()
        self.local: Address = (name[0], name[1])

    def at(self, address: Address) -> TurnClient:
        """A client like this of another server, over the same transport."""
        server = replace(self.server, host=address[0], port=address[1])
        return TurnClient(self._host, server, self.credentials, tls=self._tls, within=self.within)

    def binding(self) -> Address:
        """Our address as the server sees it; needs no credentials."""
        return self._address(self._request(Method.BINDING, signed=False), Attribute.XOR_MAPPED_ADDRESS)

    def ask_for_realm(self) -> str:
        """The realm that an Allocate without credentials is answered with, in a 401 (RFC 8489, section 9.2.3)."""
        transport = (Attribute.REQUESTED_TRANSPORT, bytes([UDP_PROTOCOL, 0, 0, 0]))
        self._learn_nonce(Method.ALLOCATE, [transport], ())
        return self._realm

    def allocate(
        self,
        *,
        lifetime: int | None = None,
        even_port: Literal["even", "reserve next"] | None = None,
        token: bytes | None = None,
        family: Literal[4, 6] | None = None,
        additional_family: Literal[4, 6] | None = None,
        protocol: int | None = UDP_PROTOCOL,
        extra: Sequence[tuple[int, bytes]] = (),
    ) -> Allocation:
        """Ask for a relayed transport address. `protocol` None leaves REQUESTED-TRANSPORT out; `extra` comes last."""
        attributes = [] if protocol is None else [(Attribute.REQUESTED_TRANSPORT, bytes([protocol, 0, 0, 0]))]
        if lifetime is not None:
            attributes.append((Attribute.LIFETIME, lifetime.to_bytes(4, "big")))
        if even_port is not None:
            attributes.append((Attribute.EVEN_PORT, b"\x80" if even_port == "reserve next" else b"\x00"))
        if token is not None:
            attributes.append((Attribute.RESERVATION_TOKEN, token))
        for attribute, version in (
            (Attribute.REQUESTED_ADDRESS_FAMILY, family),
            (Attribute.ADDITIONAL_ADDRESS_FAMILY, additional_family),
        ):
            if version is not None:
                attributes.append((attribute, bytes([FAMILIES[version], 0, 0, 0])))
        answer = self._request(Method.ALLOCATE, [*attributes, *extra])
        refused = answer.get(Attribute.ADDRESS_ERROR_CODE)
        return Allocation(
            self._address(answer, Attribute.XOR_RELAYED_ADDRESS),
            self._address(answer, Attribute.XOR_MAPPED_ADDRESS),
            self._lifetime(answer),
            answer.get(Attribute.RESERVATION_TOKEN),
            refused[2] * 100 + refused[3] if refused is not None and len(refused) >= 4 else None,
        )

    def refresh(self, lifetime: int | None = None) -> int:
        """Refresh the allocation, or end it with `lifetime` 0. Returns the seconds that the server grants."""
        wanted = () if lifetime is None else ((Attribute.LIFETIME, lifetime.to_bytes(4, "big")),)
        return self._lifetime(self._request(Method.REFRESH, wanted))

    def permit(self, *peers: str) -> None:
        """CreatePermission for these IP addresses."""
        self._request(Method.CREATE_PERMISSION, peers=[(peer, 0) for peer in peers])

    def bind(self, channel: int, peer: Address) -> None:
        """ChannelBind, which includes a permission."""
        number = (Attribute.CHANNEL_NUMBER, channel.to_bytes(2, "big") + bytes(2))
        self._request(Method.CHANNEL_BIND, [number], peers=[peer])

    def send(self, peer: Address, data: bytes) -> None:
        """A Send indication. Nobody answers it."""
        message = Message(Method.SEND, MessageClass.INDICATION)
        peer_address = (Attribute.XOR_PEER_ADDRESS, address_value(peer, message.transaction))
        attributes = [peer_address, (Attribute.DATA, data)]
        self.transmit(Message(Method.SEND, MessageClass.INDICATION, attributes, message.transaction).encode())

    def send_on_channel(self, channel: int, data: bytes) -> None:
        """ChannelData. Nobody answers it."""
        self.transmit(ChannelData(channel, data).encode(padded=self._stream is not None))

    def receive(self, *, within: float | None = None) -> Received:
        """The next payload from a peer."""
        deadline = Deadline(self.within if within is None else within)
        while not self._payloads:
            self._keep(self._next_frame(deadline, f"a payload from a peer through {self.server}"))
        return self._payloads.popleft()

    def repeat(self) -> Message:
        """Send the latest request again, byte for byte, and return what is answered, also when it is an error."""
        return self.exchange(self.last_request)

    def exchange(self, request: bytes) -> Message:
        """Send these bytes of a request, whoever signed them, and return what is answered to its transaction."""
        deadline = Deadline(self.within)
        what = f"an answer from {self.server}"
        while not deadline.over:
            self.transmit(request)
            step = deadline.remaining() if self._stream else min(RETRANSMIT_AFTER, deadline.remaining())
            with contextlib.suppress(WaitTimeout):
                return self._answer(request[8:20], Deadline(step), what)
        raise WaitTimeout(what, self.within)

    def transmit(self, data: bytes) -> None:
        """Put bytes on the wire as they are."""
        try:
            self._socket.settimeout(self.within)
            self._socket.sendall(data)
        except OSError as error:
            raise TurnClosed(f"{self.server} ended the connection: {plain(error)}") from error

    def close(self) -> None:
        """Close the socket. Over UDP the server keeps the allocation until it expires: `refresh(0)` ends it."""
        self._socket.close()

    def _connect(self, host: Host, tls: ssl.SSLContext | None) -> socket.socket:
        server = self.server
        try:
            if server.transport == "udp":
                return host.connect(server.host, server.port, within=self.within, kind=socket.SOCK_DGRAM)
            connection = host.connect(server.host, server.port, within=self.within)
        except OSError as error:
            over_tls = server.transport == "tls"
            raise TurnClosed(f"{server} cannot be reached: {plain(error)}", over_tls=over_tls) from error
        if server.transport == "tcp":
            return connection
        try:
            context = tls or ssl.create_default_context()
            # The dot at the end of a name is no part of what is matched (RFC 6066, section 3).
            return context.wrap_socket(connection, server_hostname=server.host.rstrip("."))
        except (OSError, ValueError) as error:  # ValueError: a name that TLS cannot carry
            connection.close()
            unverified = f"{server} does not speak TLS that we can verify: {plain(error)}"
            raise TurnError(unverified, over_tls=True) from error

    def _request(
        self,
        method: Method,
        attributes: Sequence[tuple[int, bytes]] = (),
        *,
        peers: Sequence[Address] = (),
        signed: bool = True,
    ) -> Message:
        """The success answer to a request, which is signed in the way of RFC 8489, 9.2."""
        if signed and self._nonce is None:
            self._learn_nonce(method, attributes, peers)
        answer = self._ask(method, attributes, peers, signed=signed)
        if signed and answer.kind is MessageClass.ERROR and _error_code(answer)[0] == 438:
            self.stale_nonces += 1
            self._nonce = answer.get(Attribute.NONCE) or self._nonce
            answer = self._ask(method, attributes, peers, signed=True)
        holds = signed and integrity_holds(self.last_answer, self._key)
        if answer.kind is MessageClass.ERROR:
            raise self._refusal(method, answer, signed=holds)
        if signed and not holds:
            raise TurnError(f"{self.server} answers {method} with a success that our password does not sign")
        return answer

    def _learn_nonce(
        self, method: Method, attributes: Sequence[tuple[int, bytes]], peers: Sequence[Address]
    ) -> None:
        answer = self._ask(method, attributes, peers, signed=False)
        if answer.kind is MessageClass.SUCCESS:
            raise TurnOpen(f"{self.server} grants {method} without any credentials: it is an open relay")
        realm, nonce = answer.get(Attribute.REALM), answer.get(Attribute.NONCE)
        if _error_code(answer)[0] != 401:
            raise self._refusal(method, answer, signed=False)
        if realm is None or nonce is None:
            raise TurnError(f"{self.server} asks for credentials without a realm and a nonce")
        self._realm, self._nonce = realm.decode(errors="replace"), nonce

    def _refusal(self, method: Method, answer: Message, *, signed: bool) -> TurnRefused:
        alternate = None
        with contextlib.suppress(FormatError):
            alternate = read_plain_address(answer.get(Attribute.ALTERNATE_SERVER) or b"")
        return TurnRefused(self.server, method, *_error_code(answer), signed=signed, alternate=alternate)

    def _ask(
        self,
        method: Method,
        attributes: Sequence[tuple[int, bytes]],
        peers: Sequence[Address],
        *,
        signed: bool,
    ) -> Message:
        transaction = Message(method, MessageClass.REQUEST).transaction
        everything = list(attributes)
        everything += [(Attribute.XOR_PEER_ADDRESS, address_value(peer, transaction)) for peer in peers]
        if signed:
            assert self._nonce is not None
            everything.append((Attribute.USERNAME, self.credentials.username.encode()))
            everything.append((Attribute.REALM, self._sent_realm.encode()))
            everything.append((Attribute.NONCE, self._nonce))
        request = Message(method, MessageClass.REQUEST, everything, transaction)
        self.last_request = request.encode(self._key if signed else None)
        return self.exchange(self.last_request)

    @property
    def _sent_realm(self) -> str:
        return self._realm if self.credentials.realm is None else self.credentials.realm

    @property
    def _key(self) -> bytes:
        return long_term_key(self.credentials.username, self._sent_realm, self.credentials.password)

    def _answer(self, transaction: bytes, deadline: Deadline, what: str) -> Message:
        while True:
            frame = self._next_frame(deadline, what)
            message = self._keep(frame)
            if message is not None and message.transaction == transaction:
                self.last_answer = frame
                return message

    def _keep(self, frame: bytes) -> Message | None:
        """Put a payload away; anything else is returned."""
        try:
            message = decode(frame)
            if isinstance(message, ChannelData):
                self._payloads.append(Received(message.data, channel=message.channel))
                return None
            if message.method != Method.DATA or message.kind is not MessageClass.INDICATION:
                return message
            peer = read_address(message.get(Attribute.XOR_PEER_ADDRESS) or b"", message.transaction)
            self._payloads.append(Received(message.get(Attribute.DATA) or b"", peer=peer))
            return None
        except FormatError as error:
            raise TurnError(f"{self.server} sent something that TURN does not know: {error}") from error

    def _next_frame(self, deadline: Deadline, what: str) -> bytes:
        while not self._frames:
            if deadline.over:
                raise WaitTimeout(what, deadline.within)
            try:
                self._socket.settimeout(max(deadline.remaining(), 0.001))
                data = self._socket.recv(MAX_DATAGRAM)
            except TimeoutError:
                continue
            except ConnectionRefusedError as error:
                raise TurnClosed(f"nothing listens on {self.server}") from error
            except OSError as error:
                raise TurnClosed(f"{self.server} ended the connection: {plain(error)}") from error
            if self._stream is None:
                self._frames.append(data)
            elif not data:
                raise TurnClosed(f"{self.server} ended the connection")
            else:
                self._cut(self._stream, data)
        return self._frames.popleft()

    def _cut(self, stream: StreamDecoder, data: bytes) -> None:
        try:
            self._frames += stream.feed(data)
        except FormatError as error:
            raise TurnError(f"{self.server} sent something that TURN does not know: {error}") from error

    def _address(self, answer: Message, attribute: Attribute) -> Address:
        value = answer.get(attribute)
        if value is None:
            raise TurnError(f"the success answer of {self.server} has no {attribute.name.replace('_', '-')}")
        try:
            return read_address(value, answer.transaction)
        except FormatError as error:
            raise TurnError(f"{self.server} answers with {error} as {attribute.name}") from error

    def _lifetime(self, answer: Message) -> int:
        value = answer.get(Attribute.LIFETIME)
        if value is None:
            raise TurnError(f"the success answer of {self.server} has no LIFETIME")
        return int.from_bytes(value, "big")


def _error_code(answer: Message) -> tuple[int, str]:
    """Code and reason of an error answer (RFC 8489, 14.8)."""
    value = answer.get(Attribute.ERROR_CODE) or b""
    if len(value) < 4:
        return 0, "without an error code"
    return (value[2] & 7) * 100 + value[3], value[4:].decode(errors="replace")
