"""An IMAP client for checks: imaplib for the session, a reader of our own for METADATA and IDLE.

imaplib drops the literals of untagged responses that it does not know, and has no IDLE before Python 3.14.
Both readers share one buffered stream, which can be read again after a wait that timed out (imaplib's cannot).
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ...accounts import Credentials
from ...closing import Closing
from ...errors import plain
from ...hosts import Host
from ...target import Target
from ...waiting import Deadline, WaitTimeout
from .imap_syntax import MetadataValue, literal_size, metadata_entries

__all__ = [
    "Idle",
    "ImapBye",
    "ImapClient",
    "ImapError",
    "ImapLimited",
    "ImapRefused",
    "ImapResponse",
    "StoredMessage",
]

MAX_RESPONSE = 64 * 1024 * 1024
READ_SIZE = 64 * 1024
NUMBER = rb"([0-9]{1,10})(?![0-9])"
"""RFC 3501 section 9: numbers have 32 bits."""
EXISTS = re.compile(rb"\* %b EXISTS\b" % NUMBER, re.IGNORECASE)
UID = re.compile(rb"\bUID %b" % NUMBER)
ENDED = re.compile(r"command: \w+ => (.*)", re.DOTALL)
OF_BAD = re.compile(r"""\w+ command error: BAD \[b['"](.*)['"]\]""", re.DOTALL)
"""As imaplib says that the server said BYE and BAD."""
LIMIT = re.compile(r"\[(LIMIT|INUSE|UNAVAILABLE)\]|too many", re.IGNORECASE)
"""RFC 9051, 7.1, and words of servers that give no code."""
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError)
"""Errors of imaplib itself over responses that it did not expect: a number of 5000 digits, a status in UTF-8, ..."""
KEYWORDS = re.compile(rb"(?:\*|[A-P]{4}\d+) (?:\d+ )?[A-Za-z-]+(?: \[[A-Za-z-]+)?")
"""What imaplib looks for at the beginning of a response: its tag, kind and code."""


class ImapError(Exception):
    """The connection broke, or the server did not speak IMAP."""


@dataclass(frozen=True)
class ImapResponse:
    """Tagged response of a server to one command, with the untagged ones before it (RFC 3501 section 2.2.2)."""

    status: str
    """`OK`, `NO` or `BAD`."""
    text: str
    """Text behind the status."""
    untagged: tuple[bytes, ...]
    """Every other response that came before it, whole, with its literals."""


class ImapRefused(ImapError):
    """The server answered NO or BAD."""

    def __init__(self, command: str, answer: ImapResponse) -> None:
        self.answer = answer
        super().__init__(f"{command} was refused: {answer.status} {answer.text}")


class ImapBye(ImapError):
    """The server ended the session in place of an answer."""


class ImapLimited(ImapRefused):
    """It did so because of too many log-ins or sessions, and not because of these credentials."""


@dataclass(frozen=True)
class StoredMessage:
    """A message as it lies in a mailbox."""

    uid: int
    data: bytes


class ImapClient(Closing):
    """One connection over implicit TLS, verified. `within` is in seconds; waits raise `WaitTimeout`."""

    def __init__(self, host: Host, target: Target, *, within: float = 30.0, most: int = MAX_RESPONSE) -> None:
        """Connect and read the greeting. `most`: bytes that the server may send before we send something again."""
        self._within = within
        with _readable(f"no IMAP at {target.imap_host or target.host}:{target.imaps}"):
            self._session = _Session(host, target, within, most)
        self._stream = self._session.stream

    def capabilities(self) -> frozenset[str]:
        """Capabilities that the server offers now; it may offer more after the log-in."""
        answer = self._expect_ok("CAPABILITY")
        lines = [line.split() for line in answer.untagged]
        return frozenset(
            word.decode("ascii", "replace").upper()
            for line in lines
            if [word.upper() for word in line[1:2]] == [b"CAPABILITY"]
            for word in line[2:]
        )

    def login(self, credentials: Credentials) -> None:
        """Log in; the first log-in creates the account. Raises `ImapRefused`, and `ImapLimited` for one too many."""
        try:
            self._session.login(credentials.address, credentials.password)
        except imaplib.IMAP4.abort as error:
            if bye := ENDED.search(plain(error)):
                raise ImapBye(f"LOGIN was answered with BYE {bye[1]}") from error
            raise ImapError(f"the connection broke during LOGIN: {plain(error)}") from error
        except imaplib.IMAP4.error as error:
            bad = OF_BAD.fullmatch(plain(error))
            answer = ImapResponse("BAD", bad[1], ()) if bad else ImapResponse("NO", plain(error), ())
            refused = ImapLimited if LIMIT.search(answer.text) else ImapRefused
            raise refused("LOGIN", answer) from error
        except UNREADABLE as error:
            raise ImapError(f"LOGIN was answered with something unreadable: {plain(error)}") from error

    def get_metadata(
        self, *keys: str, form: Literal["single", "list"] = "list", mailbox: str = ""
    ) -> dict[str, MetadataValue]:
        """Read METADATA entries (RFC 5464) in one command with a list, or in one command for each key.

        Entries that the server does not have are missing in the result. Raises `ImapRefused`, whose `answer`
        has every byte that came with the refusal.
        """
        requests = [f"({' '.join(keys)})"] if form == "list" else list(keys)
        entries: dict[str, MetadataValue] = {}
        for request in requests:
            answer = self._expect_ok(f'GETMETADATA "{mailbox}" {request}')
            for response in answer.untagged:
                try:
                    entries |= metadata_entries(response)
                except ValueError as error:
                    raise ImapError(f"GETMETADATA was answered with something unreadable: {error}") from error
        return entries

    def select(self, mailbox: str = "INBOX") -> int:
        """Open a mailbox and return how many messages it has."""
        with _readable("SELECT failed"):
            status, counts = self._session.select(f'"{mailbox}"')
            number = int(counts[-1] or 0) if status == "OK" else 0  # the last one: mail may come meanwhile
        if status != "OK":
            raise ImapRefused("SELECT", ImapResponse(status, repr(counts), ()))
        return number

    def uid_state(self, mailbox: str = "INBOX") -> tuple[int, int]:
        """UIDVALIDITY and UIDNEXT of a mailbox (RFC 3501 section 2.3.1.1), by STATUS. Raises `ImapRefused`."""
        answer = self._expect_ok(f'STATUS "{mailbox}" (UIDVALIDITY UIDNEXT)')
        said = b" ".join(answer.untagged)
        found = [re.search(rb"\b%b %b" % (item, NUMBER), said) for item in (b"UIDVALIDITY", b"UIDNEXT")]
        values = [int(match[1]) for match in found if match]
        if len(values) != len(found):
            raise ImapError(f"STATUS was answered without UIDVALIDITY or UIDNEXT: {said[:80]!r}")
        return values[0], values[1]

    def fetch_all(self) -> list[StoredMessage]:
        """Every message of the open mailbox, in order; nothing is marked as seen."""
        with _readable("FETCH failed"):
            status, parts = self._session.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
        if status != "OK":
            raise ImapRefused("FETCH", ImapResponse(status, repr(parts), ()))
        messages = []
        for part, after in zip(parts, [*parts[1:], b""], strict=True):
            if isinstance(part, tuple):
                rest = after if isinstance(after, bytes) else b""
                uid = UID.search(part[0]) or UID.search(rest)
                if uid is None:
                    raise ImapError("a FETCH response has no UID")
                messages.append(StoredMessage(int(uid[1]), part[1]))
        return messages

    def mark_seen(self, number: int) -> None:
        """Say that one message of the open mailbox was read. Raises `ImapRefused`."""
        self._expect_ok(f"STORE {number} +FLAGS (\\Seen)")

    @contextlib.contextmanager
    def idle(self) -> Iterator[Idle]:
        """Wait for news inside: `with client.idle() as idle: idle.wait_for_exists(within=5)` (RFC 2177)."""
        tag = self._send("IDLE")
        deadline = Deadline(self._within)
        before: list[bytes] = []
        while not (response := self._stream.response("the go-ahead of IDLE", deadline)).startswith(b"+"):
            if response.startswith(tag):
                raise ImapRefused("IDLE", _answer(response, before))
            before.append(response)
        idle = Idle(self._stream, before)
        try:
            yield idle
        finally:
            self._stream.send(b"DONE\r\n")
            self._finish("IDLE", tag)

    def command(self, text: str) -> ImapResponse:
        """Send any command and return everything that was answered, whether OK or not."""
        return self._finish(text.partition(" ")[0], self._send(text))

    def close(self) -> None:
        """End the connection without a word, as a client does that loses its network."""
        self._session.shutdown()

    def _expect_ok(self, text: str) -> ImapResponse:
        answer = self.command(text)
        if answer.status != "OK":
            raise ImapRefused(text, answer)
        return answer

    def _send(self, text: str) -> bytes:
        tag: bytes = self._session._new_tag()  # shared with imaplib, so that no two commands have the same
        self._stream.send(tag + b" " + text.encode() + b"\r\n")
        return tag

    def _finish(self, name: str, tag: bytes) -> ImapResponse:
        deadline = Deadline(self._within)
        untagged: list[bytes] = []
        while not (response := self._stream.response(f"the answer to {name}", deadline)).startswith(
            tag + b" "
        ):
            untagged.append(response)
        return _answer(response, untagged)


class Idle:
    """News from a server while IDLE runs."""

    def __init__(self, stream: _Stream, seen: list[bytes]) -> None:
        self._stream = stream
        self._waiting = list(seen)
        self._seen = list(seen)

    def wait_for_exists(self, *, within: float) -> int:
        """Wait until the server says how many messages there are, and return that number."""
        deadline = Deadline(within)
        while True:
            response = self._waiting.pop(0) if self._waiting else self._next(deadline)
            if match := EXISTS.match(response):
                return int(match[1])

    def _next(self, deadline: Deadline) -> bytes:
        try:
            response = self._stream.response("EXISTS during IDLE", deadline)
        except WaitTimeout as error:
            raise WaitTimeout(error.what, deadline.within, self._seen or "nothing") from None
        self._seen.append(response)
        return response


class _Stream:
    """A socket with a buffer that survives a time-out."""

    def __init__(self, connection: socket.socket, within: float, most: int) -> None:
        self._connection = connection
        self._within = within
        self._most = most
        self._received = 0
        """Bytes since we have sent something."""
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        self._received = 0
        self._connection.settimeout(self._within)
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise ImapError(f"the server took no more data: {plain(error)}") from error

    def response(self, what: str, deadline: Deadline) -> bytes:
        """One whole response: lines, and the literals that they announce."""
        data = line = self.line(what, deadline)
        while (size := literal_size(line)) is not None:
            if len(data) + size > self._most:
                raise ImapError(f"the server announced a literal of {size} bytes for {what}")
            literal = self.exactly(size, what, deadline)
            line = self.line(what, deadline)
            data += literal + line
        return data

    def line(self, what: str, deadline: Deadline) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._fill(what, deadline)
        return self._take(end + 1)

    def exactly(self, size: int, what: str, deadline: Deadline) -> bytes:
        while len(self._buffer) < size:
            self._fill(what, deadline)
        return self._take(size)

    def close(self) -> None:
        self._connection.close()

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _fill(self, what: str, deadline: Deadline) -> None:
        if self._received > self._most:
            raise ImapError(f"more than {self._most} bytes came while we waited for {what}")
        if deadline.over:
            raise WaitTimeout(what, deadline.within)
        self._connection.settimeout(deadline.remaining())
        try:
            data = self._connection.recv(READ_SIZE)
        except TimeoutError:
            raise WaitTimeout(what, deadline.within) from None
        except OSError as error:
            raise ImapError(f"the connection broke while we waited for {what}: {plain(error)}") from error
        if not data:
            raise ImapError(f"the server closed the connection while we waited for {what}")
        self._received += len(data)
        self._buffer += data


class _Session(imaplib.IMAP4):
    """imaplib on a socket of a `Host` and on our stream: these are the methods that it documents for overriding."""

    def __init__(self, host: Host, target: Target, within: float, most: int) -> None:
        self._network = host
        self._target = target
        self._within = within
        self._most = most
        super().__init__(target.imap_host or target.host, target.imaps)

    def open(self, host: str = "", port: int = 0, timeout: float | None = None) -> None:
        del timeout  # every wait of ours has its own deadline
        connection = self._network.connect(host, port, within=self._within)
        try:
            self.sock = self._target.ssl_context().wrap_socket(connection, server_hostname=self._target.host)
        except OSError:
            connection.close()
            raise
        self.stream = _Stream(self.sock, self._within, self._most)

    def read(self, size: int) -> bytes:
        return self.stream.exactly(size, "the rest of a literal", Deadline(self._within))

    def readline(self) -> bytes:
        line = self.stream.line("a response", Deadline(self._within))
        words = KEYWORDS.match(line)  # imaplib knows them in capitals only (RFC 9051, section 9)
        return line if words is None else words[0].upper() + line[words.end() :]

    def send(self, data: bytes) -> None:  # type: ignore[override]  # imaplib itself sends nothing but bytes
        self.stream.send(data)

    def shutdown(self) -> None:
        self.stream.close()


@contextlib.contextmanager
def _readable(failed: str) -> Iterator[None]:
    """Whatever imaplib makes of what a server said is an `ImapError` that begins with `failed`."""
    try:
        yield
    except (OSError, imaplib.IMAP4.error, *UNREADABLE) as error:
        raise ImapError(f"{failed}: {plain(error)}") from error


def _answer(tagged: bytes, untagged: list[bytes]) -> ImapResponse:
    _tag, _, rest = tagged.decode("utf-8", "replace").strip().partition(" ")
    status, _, text = rest.partition(" ")
    if status.upper() not in ("OK", "NO", "BAD"):
        raise ImapError(f"the server answered {rest[:80]!r} instead of OK, NO or BAD")
    return ImapResponse(status.upper(), text, tuple(untagged))
