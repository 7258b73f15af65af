"""Targets in the harness: what a hostile or broken server answers. Only a client's own errors may come out of it."""

from __future__ import annotations

import contextlib
import imaplib
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from harness.accounts import Credentials
from harness.calls.servers import TurnOffer
from harness.clients.control import ControlError, ServiceLedger, _result
from harness.clients.mail.imap import ImapClient, ImapError
from harness.clients.mail.imap_syntax import metadata_entries
from harness.clients.mail.smtp import SmtpClient, SmtpError
from harness.clients.mail.web import WebError, request_account
from harness.clients.relay.client import RelayClient, RelayError, probe
from harness.clients.relay.client_v1 import RelayClientV1
from harness.clients.relay.frames import FrameDecoder, FrameError
from harness.clients.relay.metrics import RelayMetrics
from harness.clients.turn import stun
from harness.clients.turn.client import TurnClient, TurnCredentials, TurnError
from harness.clients.turn.messages import FormatError, StreamDecoder, decode, integrity_holds
from harness.evidence.frames import Streams, harmless_part, tcp_segment
from harness.hosts import Host
from harness.look.ports import ahead
from harness.network.names import Names
from harness.realtime.table import Payload
from harness.report.records import read_results
from harness.servers.endpoints import read_endpoints
from harness.servers.remote import running_server
from harness.servers.server import ServerError
from harness.servers.toml_table import read_toml
from harness.target import Target
from harness.text import clean
from harness.urls import RelayUrl, TurnUrl, UrlError
from harness.waiting import Deadline, WaitTimeout

from .scratch import DIRECTORY

__all__ = ["TARGETS"]

WITHIN = 0.05
"""Seconds for whatever a client waits for: everything that it will ever hear is there already."""
ALICE = Credentials("alice1234@chatmail.test", "a password")
TRANSACTION = bytes(12)


class _Server(Host):
    """A network in which everybody answers the same bytes, then ends the connection."""

    name, address = "fuzz", "127.0.0.1"

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._ends: list[socket.socket] = []

    def connect(self, name: str, port: int, *, within: float, kind: Any = socket.SOCK_STREAM) -> Any:
        del name, port
        ours, theirs = socket.socketpair()
        ours.settimeout(within)
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            theirs.send(self._answer)
        theirs.shutdown(socket.SHUT_WR)
        self._ends.append(theirs)
        return _Named(ours.family, ours.type, ours.proto, ours.detach())

    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> Any:
        raise NotImplementedError

    start_program = popen

    def socket(self, family: Any, kind: Any) -> Any:
        raise NotImplementedError

    def __enter__(self) -> _Server:
        return self

    def __exit__(self, *_exception: object) -> None:
        for each in self._ends:
            each.close()


class _Named(socket.socket):
    """With an address, as sockets of the internet have one."""

    def getsockname(self) -> Any:
        return ("127.0.0.1", 1)


class _NoTls(ssl.SSLContext):
    """Plain text in place of TLS."""

    def wrap_socket(self, sock: Any, *_arguments: Any, **_how: Any) -> Any:
        return sock


NO_TLS = _NoTls(ssl.PROTOCOL_TLS_CLIENT)


class _Target(Target):
    def ssl_context(self) -> ssl.SSLContext:
        return NO_TLS


TARGET = _Target(
    name="fuzz",
    host="127.0.0.1",
    domain="chatmail.test",
    imaps=1,
    imap=1,
    submissions=1,
    submission=1,
    https=1,
    ca_file=None,
    dialect="chatmail",
)
RELAY = RelayUrl(False, "127.0.0.1", 1)


def imap_client(data: bytes) -> None:
    """A whole session against these answers."""
    with _Server(data) as server, contextlib.suppress(ImapError, WaitTimeout), _fixed_tags():
        with ImapClient(server, TARGET, within=WITHIN, most=1 << 20) as client:
            for step in STEPS:
                step(client)


def imap_client_steps(data: bytes) -> None:
    """One step of a session, which the first byte chooses."""
    step, rest = STEPS[data[0] % len(STEPS) if data else 0], data[1:]
    with _Server(GREETING + rest) as server, contextlib.suppress(ImapError, WaitTimeout), _fixed_tags():
        with ImapClient(server, TARGET, within=WITHIN, most=1 << 20) as client:
            client._session.state = "SELECTED"
            step(client)


def _idle(client: ImapClient) -> None:
    with client.idle() as idle:
        idle.wait_for_exists(within=WITHIN)


STEPS: tuple[Callable[[ImapClient], object], ...] = (
    ImapClient.capabilities,
    lambda client: client.login(ALICE),
    lambda client: client.get_metadata("/shared/comment"),
    ImapClient.uid_state,
    ImapClient.select,
    ImapClient.fetch_all,
    _idle,
)
GREETING = b"* OK ready\r\n* CAPABILITY IMAP4rev1\r\nT0 OK done\r\n"


def _fixed_tags() -> Any:
    """imaplib chooses the beginning of its tags at random; here they are T0, T1, ..."""
    return patch.object(imaplib, "Int2AP", lambda _number: b"T")


def metadata(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        metadata_entries(data)


def metadata_values(data: bytes) -> None:
    """TURN credentials, URLs, and text for people."""
    text = data.decode(errors="replace")
    for parse in (TurnOffer.parse, TurnUrl.parse, RelayUrl.parse):
        with contextlib.suppress(TurnError, UrlError):
            parse(text)
    assert clean(text).isprintable()


def smtp_client(data: bytes) -> None:
    with _Server(data) as server, contextlib.suppress(SmtpError, WaitTimeout):
        with SmtpClient(server, TARGET, within=WITHIN) as client:
            assert client.largest_mail is None or client.largest_mail > 0
            client.login(ALICE)
            client.submit(ALICE.address, [ALICE.address], b"Subject: x\r\n\r\nx\r\n")


def web_client(data: bytes) -> None:
    """`POST /new`."""
    with _Server(data) as server, contextlib.suppress(WebError, WaitTimeout):
        request_account(server, "127.0.0.1", 1, NO_TLS, within=WITHIN)


def relay_client(data: bytes) -> None:
    """A page of the relay, and a node of 0.35."""
    with _Server(data) as server:
        with contextlib.suppress(RelayError, WaitTimeout):
            probe(server, RELAY, within=WITHIN)
        with contextlib.suppress(RelayError, WaitTimeout), RelayClient(server, RELAY, within=WITHIN) as node:
            node.receive(within=WITHIN)


def relay_client_v1(data: bytes) -> None:
    """A node of iroh 1."""
    with _Server(data) as server, contextlib.suppress(RelayError, WaitTimeout):
        with RelayClientV1(server, RELAY, within=WITHIN) as node:
            node.receive(within=WITHIN)


def relay_client_v1_messages(data: bytes) -> None:
    """What a relay says after a right answer to the upgrade."""
    node = object.__new__(RelayClientV1)
    node.url, node._message = RELAY, bytearray()
    node._packets, node._pongs, node.gone, node.health = cast(Any, []), cast(Any, []), [], []
    node._answer_pings, node.pings, node.active = False, 0, True
    node._wrap = lambda message: message  # type: ignore[method-assign]
    with contextlib.suppress(RelayError):
        node._take_message(data)


def relay_frames(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        FrameDecoder().feed(data)


def stun_client(data: bytes) -> None:
    with contextlib.suppress(stun.StunError):
        stun.mapped_address(data, TRANSACTION)
    head = bytes.fromhex("01010000 2112a442") + TRANSACTION
    with contextlib.suppress(stun.StunError):
        stun.mapped_address(head + data, TRANSACTION)


def turn_messages(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        decode(data)
        integrity_holds(data, b"key")
    with contextlib.suppress(FormatError):
        StreamDecoder().feed(data)


def turn_client(data: bytes) -> None:
    """A TURN client over TCP, whose requests all have the same transaction."""
    with (
        _Server(data) as server,
        contextlib.suppress(TurnError, WaitTimeout),
        TurnClient(
            server, TurnUrl("tcp", "127.0.0.1", 1), TurnCredentials("1", "x"), within=WITHIN
        ) as client,
    ):
        client._answer(TRANSACTION, Deadline(WITHIN), "an answer")
        client.receive(within=WITHIN)


def control_client(data: bytes) -> None:
    """Answers at the control socket: a ledger."""
    with contextlib.suppress(ControlError):
        ServiceLedger.parse(_result(data + b"\n", "ledger"))


def lab_dns(data: bytes) -> None:
    """A query to the name server of a lab."""
    names = Names({"chat.example.test": ["192.0.2.1", "2001:db8::1"]})
    for udp in (True, False):
        names.answer(data, "192.0.2.9", udp=udp)
        names.answer(data, "192.0.2.9", udp=udp, outside=True)


def captured_frame(data: bytes) -> None:
    """A frame on a link of a lab."""
    harmless_part(data)
    segment = tcp_segment(data)
    if segment is not None:
        streams = Streams()
        streams.observe(segment, outgoing=True)
        streams.read()


def server_toml(data: bytes) -> None:
    """A TOML file of a user."""
    path = DIRECTORY / "server.toml"
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        read_toml(path)


def relay_metrics(data: bytes) -> None:
    with contextlib.suppress(RelayError):
        RelayMetrics.parse(data.decode(errors="replace"))


def clock_of_a_server(data: bytes) -> None:
    """The head of an answer over HTTP, by which the doctor compares clocks."""
    ahead(data)


def realtime_payload(data: bytes) -> None:
    """What another device of a swarm has sent."""
    Payload.decode(data)


def results_of_others(data: bytes) -> None:
    """`results.jsonl` of a run that somebody else made."""
    path = DIRECTORY / "results.jsonl"
    path.write_bytes(data)
    for record in read_results(path).records:
        record.to_json()


def endpoints_file(data: bytes) -> None:
    """The ready line of a server, which somebody else has written."""
    path = DIRECTORY / "ready.json"
    path.write_bytes(data)
    with _Server(b"") as host, contextlib.suppress(ValueError, ServerError):
        running_server(read_endpoints(path), host)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(imap_client, imap_client_steps, metadata, metadata_values, smtp_client, web_client),
        *(relay_client, relay_client_v1, relay_client_v1_messages, relay_frames, stun_client),
        *(turn_messages, turn_client, control_client, lab_dns, captured_frame, server_toml),
        *(relay_metrics, clock_of_a_server, realtime_payload, results_of_others, endpoints_file),
    )
}
