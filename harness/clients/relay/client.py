"""A small client of an iroh relay, generation 0.35: enough to say whether a relay works, and why not.

It asks the relay's HTTP paths, upgrades a connection to `iroh derp http`, logs in with an ed25519 key, and
sends and receives packets. Errors are sentences for whoever runs the relay.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ...closing import Closing
from ...errors import plain
from ...hosts import Host
from ...urls import RelayUrl
from ...waiting import Deadline, WaitTimeout
from .frames import FrameDecoder, FrameError, FrameType, client_info, encode, signed_message

__all__ = [
    "HttpAnswer",
    "Packet",
    "RelayClient",
    "RelayClosed",
    "RelayError",
    "probe",
    "receive_some",
    "send_all",
]

UPGRADE = "iroh derp http"
KEY_SIZE = 32
MAX_HEAD = 64 * 1024
MAX_HTTP_BODY = 1024 * 1024
READ_SIZE = 64 * 1024
STATUS_LINE = re.compile(r"HTTP/1\.[0-9] ([0-9]{3})(?![0-9])")
SIZE = re.compile(r"[0-9]{1,9}")


class RelayError(Exception):
    """The relay cannot be used. The text says what it did and what an operator can look at."""


class RelayClosed(RelayError):
    """The relay ended the connection."""


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer of the relay: status, headers with lower-case names, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Packet:
    """A packet that the relay forwarded: the sender's node ID and the payload."""

    source: str
    payload: bytes


def probe(
    host: Host,
    url: RelayUrl,
    path: str = "/ping",
    *,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    within: float = 10.0,
) -> HttpAnswer:
    """GET one path of the relay (`/ping`, `/generate_204`, `/`, ...) and return what it answered."""
    deadline = Deadline(within)
    with _connect(host, url, tls, deadline) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: {_authority(url)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        send_all(connection, "".join(f"{line}\r\n" for line in [*lines, ""]).encode(), deadline)
        answer, rest = _read_head(connection, url, deadline)
        body = bytearray(rest)
        size = answer.headers.get("content-length", "")
        wanted = min(int(size), MAX_HTTP_BODY) if SIZE.fullmatch(size) else MAX_HTTP_BODY
        if answer.status in (101, 204, 304):
            wanted = 0
        while len(body) < wanted and (data := receive_some(connection, f"the rest of {path}", deadline)):
            body += data
    return HttpAnswer(answer.status, answer.headers, bytes(body))


class RelayClient(Closing):
    """A logged-in connection to a relay. It answers the relay's pings while it waits for something.

    `within` is a number of seconds; waits raise `WaitTimeout`, a broken connection or protocol `RelayError`.
    """

    def __init__(
        self,
        host: Host,
        url: RelayUrl,
        *,
        key: Ed25519PrivateKey | None = None,
        signature: bytes | None = None,
        answer_pings: bool = True,
        tls: ssl.SSLContext | None = None,
        within: float = 10.0,
    ) -> None:
        """Connect, upgrade and send the log-in. The relay confirms nothing: `ping` shows that it let us in.

        `key`: a new one by default. `signature`: 64 bytes to send instead of the right ones. Without `answer_pings`
        this is a client that has hung up silently, as the relay sees it.
        """
        self.url = url
        self._key = key or Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()
        self.node_id = self.public_key.hex()
        self.health: list[str] = []
        """Messages of the relay about this connection, for people."""
        self.gone: list[str] = []
        """Node IDs that the relay reported as disconnected."""
        self.pings = 0
        """Number of pings from the relay."""
        self._answer_pings = answer_pings
        self._signature = signature
        self._packets: deque[Packet] = deque()
        self._pongs: deque[bytes] = deque()
        self._decoder = FrameDecoder()
        deadline = Deadline(within)
        self._connection = _connect(host, url, tls, deadline)
        try:
            self.local_address = "{}:{}".format(*self._connection.getsockname()[:2])
            self._upgrade(deadline)
            self._log_in(deadline)
        except BaseException:
            self._connection.close()
            raise

    def send(self, destination: str, payload: bytes, *, within: float = 10.0) -> None:
        """Ask the relay to forward `payload` (at most 65536 bytes) to a node ID (64 hex digits)."""
        self._send(self._packet(bytes.fromhex(destination), payload), within)

    def receive(self, *, within: float) -> Packet:
        """The next packet that somebody sent to us."""
        deadline = Deadline(within)
        while not self._packets:
            self._read("a packet", deadline)
        return self._packets.popleft()

    def receive_until(self, payload: bytes, *, within: float) -> list[Packet]:
        """All packets up to the first one with this payload, itself included.

        A relay keeps the order of what one node sends to another, so a last packet with a payload of its own
        shows that everything before it is here.
        """
        deadline = Deadline(within)
        packets: list[Packet] = []
        while not packets or packets[-1].payload != payload:
            packets.append(self.receive(within=deadline.remaining()))
        return packets

    def ping(self, *, within: float = 10.0) -> None:
        """Send a ping and wait for its echo. This proves that the relay accepted the log-in."""
        deadline = Deadline(within)
        data = secrets.token_bytes(8)
        self._send(self._ping(data), within)
        while data not in self._pongs:
            self._read("the answer to a ping", deadline)
        self._pongs.clear()

    def wait_pinged(self, times: int, *, within: float) -> None:
        """Wait until the relay has pinged us that often since the connection was made."""
        deadline = Deadline(within)
        while self.pings < times:
            self._read(f"ping {self.pings + 1}", deadline)

    def wait_closed(self, *, within: float) -> None:
        """Wait until the relay ends this connection, as it does after a refused log-in."""
        deadline = Deadline(within)
        with contextlib.suppress(RelayClosed):
            while True:
                self._read("the relay to close the connection", deadline)

    def close(self) -> None:
        self._connection.close()

    # What another generation does in its own way

    def _packet(self, destination: bytes, payload: bytes) -> bytes:
        return encode(FrameType.SEND_PACKET, destination + payload)

    def _ping(self, data: bytes) -> bytes:
        return encode(FrameType.PING, data)

    def _log_in(self, deadline: Deadline) -> None:
        signature = self._signature or self._key.sign(signed_message())
        send_all(self._connection, client_info(self.public_key, signature), deadline)

    def _upgrade(self, deadline: Deadline) -> None:
        # Real clients send these two headers and no `Connection: Upgrade`; a relay must accept that.
        request = f"GET /relay HTTP/1.1\r\nHost: {_authority(self.url)}\r\nUpgrade: {UPGRADE}\r\n\r\n"
        send_all(self._connection, request.encode(), deadline)
        answer, rest = _read_head(self._connection, self.url, deadline)
        if answer.status != 101:
            raise RelayError(
                f"the relay {self.url} answered {answer.status} instead of 101 Switching Protocols: a proxy in "
                f"front of it drops the upgrade, or it is no iroh relay that speaks `{UPGRADE}` (0.35)"
            )
        self._take(rest)

    def _send(self, data: bytes, within: float) -> None:
        send_all(self._connection, data, Deadline(within))

    def _read(self, what: str, deadline: Deadline) -> None:
        data = receive_some(self._connection, what, deadline)
        if not data:
            said = f"; it said: {'; '.join(self.health)}" if self.health else ""
            raise RelayClosed(f"the relay {self.url} closed the connection while we waited for {what}{said}")
        self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            raise RelayError(f"{self.url}: {plain(error)}") from error
        for frame in frames:
            match frame.type:
                case FrameType.RECV_PACKET if len(frame.body) >= KEY_SIZE:
                    self._packets.append(Packet(frame.body[:KEY_SIZE].hex(), frame.body[KEY_SIZE:]))
                case FrameType.PING:
                    self._was_pinged(encode(FrameType.PONG, frame.body))
                case FrameType.PONG:
                    self._pongs.append(frame.body)
                case FrameType.NODE_GONE:
                    self.gone.append(frame.body.hex())
                case FrameType.HEALTH:
                    self.health.append(frame.body.decode(errors="replace"))
                case FrameType.KEEP_ALIVE | FrameType.RESTARTING:
                    pass  # nothing follows from them for a client that lives for seconds
                case _:
                    raise RelayError(
                        f"the relay {self.url} sent a {frame.type.name} frame: clients send those"
                    )

    def _was_pinged(self, pong: bytes) -> None:
        self.pings += 1
        if self._answer_pings:
            self._send(pong, within=10.0)


def _authority(url: RelayUrl) -> str:
    return str(url).split("/")[2]


def _connect(host: Host, url: RelayUrl, tls: ssl.SSLContext | None, deadline: Deadline) -> socket.socket:
    try:
        connection = host.connect(url.host, url.port, within=deadline.remaining())
    except OSError as error:
        raise RelayError(f"nothing answers at the relay URL {url}: {plain(error)}") from error
    if not url.secure:
        return connection
    context = tls or ssl.create_default_context()
    try:
        return context.wrap_socket(connection, server_hostname=url.host)
    except (OSError, ValueError) as error:  # ValueError: a name that TLS cannot carry
        connection.close()
        raise RelayError(f"TLS with the relay {url} failed: {plain(error)}") from error


def send_all(connection: socket.socket, data: bytes, deadline: Deadline) -> None:
    connection.settimeout(max(deadline.remaining(), 0.001))
    try:
        connection.sendall(data)
    except OSError as error:
        raise RelayError(f"the relay took no more data: {plain(error)}") from error


def receive_some(connection: socket.socket, what: str, deadline: Deadline) -> bytes:
    """Receive the bytes that have arrived; empty when the relay has ended the connection."""
    if deadline.over:
        raise WaitTimeout(f"{what} from the relay", deadline.within)
    connection.settimeout(deadline.remaining())
    try:
        return connection.recv(READ_SIZE)
    except TimeoutError:
        raise WaitTimeout(f"{what} from the relay", deadline.within) from None
    except ConnectionError:
        return b""  # reset: as final as a close
    except OSError as error:
        raise RelayError(f"the connection to the relay broke: {plain(error)}") from error


def _read_head(connection: socket.socket, url: RelayUrl, deadline: Deadline) -> tuple[HttpAnswer, bytes]:
    """Status and headers of an HTTP answer, and the bytes that came after them."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = receive_some(connection, "an HTTP answer", deadline)
        if not data or len(head) > MAX_HEAD:
            raise RelayError(f"{url} does not answer in HTTP; it sent {head[:60]!r}")
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    status = STATUS_LINE.match(status_line)
    if status is None:
        raise RelayError(f"{url} does not answer in HTTP; it sent {status_line[:60]!r}")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return HttpAnswer(int(status[1]), headers, b""), rest
