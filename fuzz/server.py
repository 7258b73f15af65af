"""Targets in the reference server. Each takes any bytes, and raises only when we have made a mistake."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import h11

from reference_server.config import maddy
from reference_server.config import relay as relay_file
from reference_server.control import ControlServer
from reference_server.errors import ConfigurationError
from reference_server.iroh_relay.access import Everyone, _is_yes
from reference_server.iroh_relay.connection import Connection
from reference_server.iroh_relay.http import routes
from reference_server.iroh_relay.http.http1 import Transport
from reference_server.iroh_relay.hub import Parts
from reference_server.iroh_relay.limits import RelayLimits, Unlimited
from reference_server.iroh_relay.shell import Shell
from reference_server.iroh_relay.stun import answer as stun_answer
from reference_server.iroh_relay.v035.hub import Hub035
from reference_server.iroh_relay.v1.hub import HubV1
from reference_server.ledger import Ledger
from reference_server.mail.dovecot import DictServer
from reference_server.mail.federation.conversation import Envelope, HostFailed, Say, converse
from reference_server.mail.federation.inbound import FederationConnection, Inbound, Intake
from reference_server.mail.federation.policy import encrypted_from_outside
from reference_server.mail.federation.replies import NotSmtp, ReplyReader
from reference_server.mail.federation.signatures import has_any_signature, has_signature_of
from reference_server.mail.fields import clean_header, has_bad_bytes
from reference_server.mail.imap.entities import read_entity
from reference_server.mail.imap.structure import body_structure, envelope
from reference_server.mail.policy import PolicyRules, Submission, encrypted_only
from reference_server.mail.rates import MemoryBudget
from reference_server.mail.settings import Limits, MailSettings, OutgoingTls
from reference_server.mail.smtp import SmtpConnection, SmtpServices
from reference_server.mail.smtp_receiving import Receiving
from reference_server.mail.store import Account
from reference_server.mail.web import WebConnection, WebServices
from reference_server.turn.sockets.streams import FramingError, take_frames
from reference_server.turn.stun import Address
from tests.reference_server.iroh_relay.sans_io import Relay, RelayV1
from tests.reference_server.mail.imap.dialogue import LOGIN, Dialogue
from tests.reference_server.mail.imap.dialogue import World as ImapWorld
from tests.reference_server.turn.support import UDP_TRANSPORT
from tests.reference_server.turn.support import World as TurnWorld

from .scratch import DIRECTORY

__all__ = ["TARGETS"]

USER = "alice@chatmail.test"
ALICE = Account(1, USER, 1, "")
WORLD_LASTS = 200
"""Sessions after which the store of an IMAP world begins anew."""
SETTLES_WITHIN = 2.0
PUBLIC_KEY = (
    b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDSwjDy7r4m+aZz1bkNytSTqpuMUg7XHEBtD8GfkhgBBiLm82arSIhanFP3Jnvl"
    b"vVoZpcWlmE9Q8/LXarJyEH4wpeyTfQw+7bByo4qhS3lBKautq7tuAZG/9qC3oSlCnDbp5FIoI25324IbM+FlBnvG4r569XivdlSo"
    b"UiWqgfWAEwIDAQAB"
)


class _Complaint(Exception):
    """A service has logged a warning or an error about bytes of a stranger: an exception of ours is behind it."""


class _Listening(logging.Handler):
    """Inside `with`, a warning of our services, of asyncio or of aiosmtpd is a `_Complaint` at its end."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._heard.append(self.format(record))

    def __enter__(self) -> None:
        self._heard.clear()
        logging.getLogger().addHandler(self)

    def __exit__(self, *_exception: object) -> None:
        logging.getLogger().removeHandler(self)
        if self._heard:
            raise _Complaint("\n".join(self._heard))


LISTENING = _Listening()
LOOP = asyncio.new_event_loop()


class _Transport(asyncio.Transport):
    """Takes what is written, and loses the connection when it is closed."""

    def __init__(self, protocol: Any) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.protocol = protocol
        self.closing = False

    def write(self, data: Any) -> None:
        assert isinstance(data, bytes | bytearray | memoryview)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            LOOP.call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_protocol(self) -> Any:
        return self.protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_write_buffer_size(self) -> int:
        return 0


def _on_loop(make: Callable[[], Any], data: bytes, *, ends: bytes = b"") -> None:
    """Feed a protocol with bytes, then with `ends`, and wait until it has closed its transport."""

    async def talk() -> None:
        protocol = make()
        transport = _Transport(protocol)
        protocol.connection_made(transport)
        for piece in (data, ends):
            if piece and not transport.is_closing():
                protocol.data_received(piece)
            await asyncio.sleep(0)  # what the protocol has scheduled for this piece comes before the next
        try:
            async with asyncio.timeout(SETTLES_WITHIN):
                await protocol.wait_closed()
        except TimeoutError:
            transport.close()
            await protocol.wait_closed()

    with LISTENING:
        LOOP.run_until_complete(talk())


class _Accounts:
    """Everybody has an account."""

    def canonical(self, address: str) -> str:
        return address.lower()

    def quota_of(self, address: str) -> int:
        return 1 << 20

    async def find(self, address: str) -> Account | None:
        return ALICE

    async def log_in(self, address: str, password: str, *, protocol: str, source: str) -> Account | None:
        return ALICE if password == "first password" else None

    async def create_random(self, source: str) -> tuple[str, str] | None:
        return USER, "password"

    async def _nothing(self, *_arguments: Any, **_named: Any) -> int:
        return 0

    run = deliver = _nothing


SETTINGS = MailSettings(
    state=Path("unused"), limits=Limits(smtp_idle=1, before_login=1, login_failure_delay=0)
)
LEDGER = Ledger("fuzz", enabled=False)
RECEIVING = Receiving("chatmail.test", cast(Any, None), SETTINGS.limits, MemoryBudget(1 << 24))
SMTP = SmtpServices(
    settings=SETTINGS,
    receiving=RECEIVING,
    accounts=cast(Any, _Accounts()),
    store=cast(Any, _Accounts()),
    delivery=cast(Any, _Accounts()),
    policy=encrypted_only,
    rules=PolicyRules(),
    ledger=LEDGER,
    rate=None,
)


async def _signed(_domain: str, _content: bytes, _lookup: Any) -> bool:
    return True


INBOUND = Inbound(
    settings=SETTINGS,
    accounts=cast(Any, _Accounts()),
    store=cast(Any, _Accounts()),
    delivery=cast(Any, _Accounts()),
    policy=encrypted_from_outside,
    rules=PolicyRules(),
    is_signed=_signed,
    lookup=cast(Any, None),
    ledger=LEDGER,
    memory=MemoryBudget(1 << 24),
)
PORTS = dict.fromkeys(("imaps", "imap", "submissions", "submission"), 1)
WEB = WebServices(SETTINGS, cast(Any, _Accounts()), MemoryBudget(1 << 24), PORTS, INBOUND)


def smtp(data: bytes) -> None:
    """A submission session; its end is what would end a message, an answer of AUTH and the session."""
    record = LEDGER.connection("smtp", "192.0.2.1:1")
    _on_loop(lambda: SmtpConnection(SMTP, record, tls=True), data, ends=b"\r\n.\r\n*\r\nQUIT\r\n")


def smtp_of_servers(data: bytes) -> None:
    """Port 25."""
    record = LEDGER.connection("federation", "192.0.2.1:1")
    _on_loop(
        lambda: FederationConnection(INBOUND, Intake, RECEIVING, record),
        data,
        ends=b"\r\n.\r\n*\r\nQUIT\r\n",
    )


def smtp_replies(data: bytes) -> None:
    """What another server answers to a mail of ours."""
    envelope = Envelope(USER, ("bob@example.test", "carol@example.test"), b"Subject: x\r\n\r\nx\r\n")
    conversation, reader = converse(envelope, "chatmail.test", OutgoingTls.NEVER), ReplyReader()
    with suppress(NotSmtp, HostFailed, StopIteration):
        said, replies = next(conversation), reader.feed(data)
        while isinstance(said, Say) and len(replies) >= said.replies:
            now, replies = replies[: said.replies], replies[said.replies :]
            said = conversation.send(now)


def web(data: bytes) -> None:
    """`POST /new`, autoconfig, and `POST /mxdeliv`."""
    record = LEDGER.connection("https", "192.0.2.1:1")
    _on_loop(lambda: _Ending(WEB, record), data)


class _Ending(WebConnection):
    """A client that hears no answer to what is no whole request hangs up."""

    async def wait_closed(self) -> None:
        if self._answer is None:
            self._transport.close()
        await super().wait_closed()


def submitted_mail(data: bytes) -> None:
    """The policy, and what a mail becomes on its way into a mailbox."""
    encrypted_only(Submission(USER, (USER,), data), PolicyRules())
    has_bad_bytes(data)
    clean_header(data)


def signed_mail(data: bytes) -> None:
    """DKIM of a mail from outside, whose key is there."""
    has_any_signature(data)
    LOOP.run_until_complete(has_signature_of("example.test", data, cast(Any, _Keys())))


class _Keys:
    """Each selector has the same key, with which the first input is signed."""

    async def txt(self, _name: str) -> list[bytes]:
        return [b"v=DKIM1; k=rsa; p=" + PUBLIC_KEY]


def stored_mail(data: bytes) -> None:
    """BODYSTRUCTURE and ENVELOPE of a mail that is in a mailbox."""
    entity = read_entity(data)
    body_structure(entity, extended=True)
    envelope(entity.header)


class _Imap:
    def __init__(self) -> None:
        self._sessions = 0
        self._world: ImapWorld

    def dialogue(self, *, compress: bool = False) -> Dialogue:
        if self._sessions % WORLD_LASTS == 0:
            if self._sessions:
                self._world.store.close()
            directory = DIRECTORY / f"imap-{self._sessions}"
            directory.mkdir()
            self._world = ImapWorld(directory)
            self._world.deliver()
        self._sessions += 1
        self._world.sessions.clear()
        return Dialogue(self._world, compress=compress)


IMAP = _Imap()


def imap(data: bytes) -> None:
    """A session from its first byte."""
    IMAP.dialogue().receive(data)


def imap_logged_in(data: bytes) -> None:
    """A session that has the inbox open."""
    dialogue = IMAP.dialogue()
    dialogue.receive(LOGIN + b"0 SELECT INBOX\r\n")
    dialogue.receive(data)


def imap_compressed(data: bytes) -> None:
    """What a client packs with COMPRESS=DEFLATE."""
    dialogue = IMAP.dialogue(compress=True)
    dialogue.receive(LOGIN + b"0 SELECT INBOX\r\n0 COMPRESS DEFLATE\r\n")
    dialogue.receive(data)


def relay_connection(data: bytes) -> None:
    """HTTP, and what comes after an upgrade."""

    async def talk() -> None:
        ledger, limits = Ledger("iroh_relay", enabled=False), RelayLimits()
        parts = Parts(ledger, limits)
        old, new = Hub035(parts, Unlimited), HubV1(parts, Unlimited)
        hubs = {Transport.DERP: old, Transport.WEBSOCKET: old, Transport.V1: new, Transport.V2: new}
        shell = Shell(hubs, Everyone(), limits, ledger)
        connection = Connection(shell, "relay", routes.relay(tls=False))
        transport = _Transport(connection)
        connection.connection_made(transport)
        rest = data
        while rest and not transport.closing:
            buffer = connection.get_buffer(-1)
            size = min(len(buffer), len(rest))
            buffer[:size], rest = rest[:size], rest[size:]
            connection.buffer_updated(size)
            await asyncio.sleep(0)  # likewise
        await shell.close()

    with LISTENING:
        LOOP.run_until_complete(talk())


def access_answer(data: bytes) -> None:
    """What the service says that a relay asks whom to let in."""

    async def ask() -> None:
        reader, connection = asyncio.StreamReader(), h11.Connection(h11.CLIENT)
        reader.feed_data(data)
        reader.feed_eof()
        connection.send(
            h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")])
        )
        connection.send(h11.EndOfMessage())
        with suppress(h11.ProtocolError):
            await _is_yes(connection, reader)

    LOOP.run_until_complete(ask())


def relay_frames_035(data: bytes) -> None:
    relay = Relay()
    relay.feed(relay.connect(), data)
    relay.expire(100.0)


def relay_frames_v1(data: bytes) -> None:
    relay = RelayV1()
    relay.feed(relay.connect(0.0, 2), data)
    relay.expire(100.0)


def relay_stun(data: bytes) -> None:
    stun_answer(data, "192.0.2.1", 1)
    stun_answer(data, "2001:db8::1", 1)


def turn(data: bytes) -> None:
    """A datagram of a stranger, and the same to somebody who has an allocation and a channel."""
    world = TurnWorld()
    world.client().raw(data)
    client = world.client(40001)
    relayed = client.allocate(UDP_TRANSPORT).relayed
    client.raw(data)
    world.turn.arrive(relayed, Address("198.51.100.7", 5000), data, world.now)
    world.pass_time(5.0)


def turn_signed(data: bytes) -> None:
    """Attributes of a request by somebody with credentials: a method, then type, length and value of each."""
    client = TurnWorld().client()
    client.allocate()
    method, attributes = (
        (data[0] if data else 3) & 0x0F,
        [data[at : at + 40] for at in range(1, len(data), 40)],
    )
    whole = [
        each[:2] + len(each[2:]).to_bytes(2, "big") + each[2:] + bytes(-len(each[2:]) % 4)
        for each in attributes
        if len(each) >= 2
    ]
    client.request(cast(Any, method), *whole)


def turn_stream(data: bytes) -> None:
    """TURN over TCP."""
    with suppress(FramingError):
        take_frames(bytearray(data))


def maddy_conf(data: bytes) -> None:
    """check-config with a maddy.conf."""
    _config("maddy.conf", data, lambda path: maddy.load(path).findings)


def iroh_relay_toml(data: bytes) -> None:
    """check-config with an iroh-relay.toml."""
    _config("iroh-relay.toml", data, lambda path: relay_file.load(path).findings)


def _config(name: str, data: bytes, read: Callable[[Path], object]) -> None:
    path = DIRECTORY / name
    path.write_bytes(data)
    with suppress(ConfigurationError):
        read(path)


def control(data: bytes) -> None:
    """A line at the control socket."""

    async def ledger(_fields: Any) -> dict[str, Any]:
        return {}

    LOOP.run_until_complete(ControlServer(Path("unused"), {"ledger": ledger})._answer(data))


def dovecot_dict(data: bytes) -> None:
    """A line of dovecot's dict protocol: users stand in it."""
    server = DictServer(cast(Any, _Accounts()), lambda _key: None)
    LOOP.run_until_complete(server.answer(data.decode(errors="replace")))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        *(
            smtp,
            smtp_of_servers,
            smtp_replies,
            web,
            submitted_mail,
            signed_mail,
            stored_mail,
            imap,
            imap_logged_in,
            imap_compressed,
        ),
        *(relay_connection, relay_frames_035, relay_frames_v1, relay_stun, access_answer),
        *(turn, turn_signed, turn_stream),
        *(maddy_conf, iroh_relay_toml, control, dovecot_dict),
    )
}
