"""How clients come in: AUTHENTICATE, literals without waiting, compression, and how much they may send."""

from __future__ import annotations

import base64
import zlib

import pytest

from reference_server.mail.imap.capabilities import capabilities
from reference_server.mail.imap.commands import HANDLERS
from reference_server.mail.imap.states import ALLOWED_COMMANDS, State
from reference_server.mail.settings import Limits
from tests.reference_server.mail.imap.dialogue import LOGIN, Dialogue, World, logged_in

PLAIN = base64.b64encode(b"\0alice@chatmail.test\0first password").decode()
WRONG = base64.b64encode(b"\0alice@chatmail.test\0wrong").decode()
FOR_BOB = base64.b64encode(b"bob@chatmail.test\0alice@chatmail.test\0first password").decode()


def test_authenticate_plain_in_one_line_and_in_two(world: World) -> None:
    for script in (
        f"""
        S: * OK [CAPABILITY ... SASL-IR AUTH=PLAIN ...
        C: a AUTHENTICATE PLAIN {PLAIN}
        S: a OK [CAPABILITY ... UIDPLUS ...] Logged in
        """,
        f"""
        S: * OK ...
        C: a authenticate plain
        S: +...
        C: {PLAIN}
        S: a OK [CAPABILITY ... UIDPLUS ...] Logged in
        """,
    ):
        Dialogue(world).run(script)


def test_one_may_act_for_oneself_however_one_is_written(world: World) -> None:
    response = b"Alice@CHATMAIL.test\0alice@chatmail.test\0first password"
    Dialogue(world).run(f"""
        S: * OK ...
        C: a AUTHENTICATE PLAIN {base64.b64encode(response).decode()}
        S: a OK ...
    """)


def test_authenticate_that_fails(world: World) -> None:
    Dialogue(world).run(f"""
        S: * OK ...
        C: a AUTHENTICATE PLAIN
        S: +...
        C: *
        S: a BAD AUTHENTICATE was cancelled
        C: b AUTHENTICATE PLAIN ====
        S: b BAD ...
        C: c AUTHENTICATE GSSAPI
        S: c NO ...
        C: d AUTHENTICATE PLAIN {FOR_BOB}
        S: d NO [AUTHORIZATIONFAILED] ...
        C: e AUTHENTICATE PLAIN {WRONG}
        S: e NO [AUTHENTICATIONFAILED] Authentication failed.
        C: f AUTHENTICATE PLAIN {PLAIN}
        S: f OK ...
        C: g AUTHENTICATE PLAIN {PLAIN}
        S: g BAD AUTHENTICATE is not allowed after LOGIN, without a selected mailbox
    """)


def test_no_authenticate_in_plain_text(world: World) -> None:
    Dialogue(world, tls=False).run(f"""
        S: * OK [CAPABILITY IMAP4rev1 LITERAL+ ID STARTTLS LOGINDISABLED ...
        C: a AUTHENTICATE PLAIN {PLAIN}
        S: a NO [PRIVACYREQUIRED] ...
    """)


def test_literals_without_waiting(world: World) -> None:
    dialogue = Dialogue(world)
    dialogue.sent = b""
    dialogue.receive(b"a LOGIN {19+}\r\nalice@chatmail.test {14+}\r\nfirst password\r\nb NOOP\r\n")
    assert dialogue.sent.startswith(b"a OK [CAPABILITY ")
    assert dialogue.sent.endswith(b"\r\nb OK NOOP completed\r\n")


def test_every_command_is_allowed_somewhere_and_every_allowed_command_exists() -> None:
    assert set().union(*ALLOWED_COMMANDS.values()) == set(HANDLERS)


def test_capabilities_are_told_where_they_are_served(world: World) -> None:
    habits = Dialogue(world).session._context.profile.habits
    before = capabilities(State.NOT_AUTHENTICATED, habits, True)
    after = capabilities(State.AUTHENTICATED, habits, False)
    assert {"IDLE", "METADATA", "COMPRESS=DEFLATE", "IMAP4rev2"}.isdisjoint(before)
    assert {"AUTH=PLAIN", "STARTTLS", "COMPRESS=DEFLATE", "IMAP4rev2"}.isdisjoint(after)
    served = {"CHILDREN", "IDLE", "METADATA", "MOVE", "NAMESPACE", "QUOTA", "UIDPLUS", "UNSELECT"}
    assert served <= set(after)


def compressed(
    world: World, *, limits: Limits | None = None
) -> tuple[Dialogue, zlib._Compress, zlib._Decompress]:
    dialogue = Dialogue(world, limits=limits, compress=True)
    dialogue.receive(LOGIN)
    dialogue.sent = b""
    dialogue.receive(b"a COMPRESS DEFLATE\r\n")
    assert dialogue.sent == b"a OK DEFLATE active\r\n"
    dialogue.sent = b""
    return dialogue, zlib.compressobj(wbits=-15), zlib.decompressobj(-15)


def test_compression(world: World) -> None:
    dialogue, packer, unpacker = compressed(world)
    command = packer.compress(b"b CAPABILITY\r\nc COMPRESS DEFLATE\r\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    for byte in command:
        dialogue.receive(bytes([byte]))
    answer = unpacker.decompress(dialogue.sent)
    assert b"COMPRESS=DEFLATE" not in answer
    assert answer.endswith(
        b"b OK CAPABILITY completed\r\nc NO [COMPRESSIONACTIVE] DEFLATE is active already\r\n"
    )


def test_compression_is_off_unless_it_is_switched_on(world: World) -> None:
    logged_in(world).run("""
        C: a CAPABILITY
        S: * CAPABILITY ...XDELTAPUSH
        S: a OK ...
        C: b COMPRESS DEFLATE
        S: b NO ...
        C: c NOOP
        S: c OK ...
    """)


@pytest.mark.parametrize(
    "bomb", [b"x" * 50_000_000, b"b LOGOUT {60000}\r\n" + b"x" * 50_000_000, b"\0" * 50_000_000]
)
def test_a_compression_bomb_stays_packed_until_it_goes_off(world: World, bomb: bytes) -> None:
    dialogue, packer, unpacker = compressed(world)
    session = dialogue.session
    dialogue.session.receive_data(packer.compress(bomb) + packer.flush(), dialogue.now)
    assert not session.wants_data
    while not session.closed:
        assert session.next_event(dialogue.now) is None, "nobody should be asked"
        assert len(session._reader._buffer) < 200_000
    assert len(session._reader._buffer) < 200_000
    assert b"* BYE" in unpacker.decompress(session.data_to_send())
    assert session.closed


@pytest.mark.parametrize("noise", [b"b NOOP\r\n" * 10, b"\xff" * 100])
def test_what_is_no_deflate_ends_the_connection(world: World, noise: bytes) -> None:
    dialogue, _packer, unpacker = compressed(world)
    dialogue.receive(noise)
    assert b"* BYE" in unpacker.decompress(dialogue.sent)
    assert dialogue.session.closed


def test_a_large_literal_needs_memory_that_is_free(world: World) -> None:
    dialogue = logged_in(world, limits=Limits(messages_in_memory=100_000))
    dialogue.run("""
        C: a APPEND INBOX {100001}
        S: a NO [LIMIT] ...
        C: b APPEND INBOX {31457281}
        S: b BAD Literals are limited to 31457280 bytes
        C: c LOGIN {65537}
        S: c BAD Literals are limited to 65536 bytes
        C: d APPEND INBOX {100000}
        S: + OK
    """)
    dialogue.receive(b"x" * 100_000 + b"\r\n")
    assert dialogue.sent.startswith(b"d OK [APPENDUID ")
    dialogue.sent = b""
    dialogue.receive(b"e APPEND INBOX {100001+}\r\n")
    assert dialogue.sent == b"e NO [LIMIT] Too much mail is coming in, try again later\r\n* BYE Goodbye\r\n"


def test_a_literal_that_never_ends_does(world: World) -> None:
    dialogue = logged_in(world, limits=Limits(transfer=600, idle=500))
    dialogue.run("""
        C: a APPEND INBOX {70000}
        S: + OK
        T: 400
        C: more
        T: 199
        T: 1
        S: * BYE ...
    """)
