"""Which mail may be submitted: one table of what is accepted, one of what is refused."""

from __future__ import annotations

import pytest

from reference_server.mail.openpgp import is_encrypted_message
from reference_server.mail.policy import Accept, PolicyRules, Refuse, Submission, encrypted_only
from reference_server.mail.settings import Dialect
from tests.reference_server.mail.pgp import (
    PKESK,
    armor,
    encrypted_message,
    encrypted_packets,
    packet,
    partial_packet,
)

ALICE, BOB = "alice@chatmail.test", "bob@chatmail.test"
PARAMETER = b'boundary="b"'
PLAIN = f"From: {ALICE}\r\nSubject: x\r\n\r\nhello\r\n".encode()


def judge(
    content: bytes, *, recipients: tuple[str, ...] = (BOB,), rules: PolicyRules | None = None
) -> object:
    return encrypted_only(Submission(ALICE, recipients, content), rules or PolicyRules())


def code(content: bytes, **how: object) -> int | None:
    verdict = judge(content, **how)  # type: ignore[arg-type]  # passed on as they are
    return verdict.code if isinstance(verdict, Refuse) else None


def securejoin(*, header: str = "vc-request", body: str = "secure-join: vc-request", more: str = "") -> bytes:
    return (
        f"From: {ALICE}\r\nSecure-Join: {header}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/plain\r\n\r\n{body}\r\n{more}--b--\r\n"
    ).encode()


SETUP = (
    f"From: {ALICE}\r\nSubject: Autocrypt Setup Message\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n"
).encode()


def test_a_mail_may_be_nothing_but_a_header() -> None:
    """RFC 5322 section 3.5; as readable as any other."""
    assert code(f"From: {ALICE}\r\nSubject: x\r\n".encode()) == 523
    assert code(f"From: {ALICE}\r\nX: {'x' * 300_000}\r\n".encode()) == 552
    assert code(b"") == 500


@pytest.mark.parametrize(
    ("parameter", "boundary"),
    [
        *((b'boundary="foo\r\n bar"', b"foo bar"), (b'boundary="foo\r\n\tbar"', b"foo\tbar")),
        *((b'\r\n boundary="b"', b"b"), (b'boundary="b" (comment)', b"b"), (b"(c) BOUNDARY = b (c)", b"b")),
        *((b"boundary*0=foo; boundary*1=bar", b"foobar"), (b'boundary="f\\oo"', b"foo")),
    ],
)
def test_an_encrypted_mail_is_one_however_its_boundary_is_written(parameter: bytes, boundary: bytes) -> None:
    content = encrypted_message(ALICE)
    header, body = content.split(b"\r\n\r\n", 1)
    assert header.count(PARAMETER) == 1
    written = header.replace(PARAMETER, parameter) + b"\r\n\r\n" + body.replace(b"--b", b"--" + boundary)
    assert judge(written) == Accept()


@pytest.mark.parametrize(
    "parameter",
    [b"boundary*=nowhere''%ff", b"boundary*0*=x'%", b'boundary="\xff"', b"boundary=(", b"boundary="],
)
def test_a_boundary_that_cannot_be_read_is_no_error_of_ours(parameter: bytes) -> None:
    assert code(encrypted_message(ALICE).replace(PARAMETER, parameter)) == 523


@pytest.mark.parametrize(
    "field",
    [
        *("a:;b:;" * 100, "<u (c)@ (c) alice@chatmail.test>", "[(" * 500, ":;," * 600),
        *("a@[", "a@[ ", "a:b;@", "a@[\\", "=?utf-8?b?!!!?= <@,;:>", "<@", "(" * 900),
    ],
)
def test_a_from_that_nobody_understands_is_refused(field: str) -> None:
    content = encrypted_message(ALICE).replace(f"From: <{ALICE}>".encode(), f"From: {field}".encode())
    assert code(content) == 500


def test_a_from_with_comments_is_understood() -> None:
    field = b"From: Alice (c) <alice (c)@ (c) chatmail.test> (c)"
    assert judge(encrypted_message(ALICE).replace(f"From: <{ALICE}>".encode(), field)) == Accept()


@pytest.mark.parametrize(
    "content",
    [
        encrypted_message(ALICE),
        encrypted_message("ALICE@Chatmail.Test"),
        encrypted_message(ALICE, armored=armor(encrypted_packets(), checksum="")),
        encrypted_message(ALICE, armored=armor(encrypted_packets(), headers="\r\n")),
        encrypted_message(ALICE, armored=armor(PKESK + PKESK + packet(3, b"x") + packet(18, b"y"))),
        encrypted_message(ALICE, armored=armor(PKESK + packet(18, b"y" * 100_000))),
        encrypted_message(ALICE, armored=armor(PKESK + partial_packet(18, b"y" * 600))),
        securejoin(),
        securejoin(header="vg-request", body="  secure-join: vg-request  "),
    ],
)
def test_accepted(content: bytes) -> None:
    assert judge(content) == Accept()


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        encrypted_message(ALICE, version="Version: 2"),
        encrypted_message(ALICE, armored="hello"),
        encrypted_message(ALICE, armored=armor(b"")),
        encrypted_message(ALICE, armored="hello\r\n" + armor(encrypted_packets())),
        encrypted_message(ALICE, armored=armor(encrypted_packets()) + "hello"),
        encrypted_message(ALICE, armored=armor(encrypted_packets(), headers="Version: GnuPG\r\n")),
        encrypted_message(ALICE, armored=armor(encrypted_packets(), headers="Comment: hello\r\n")),
        encrypted_message(ALICE, armored=armor(encrypted_packets()).replace("\r\n", "\n")),
        encrypted_message(ALICE, armored=armor(packet(11, b"literal data"))),
        encrypted_message(ALICE).replace(b"multipart/encrypted", b"multipart/mixed"),
        encrypted_message(ALICE).replace(b"application/octet-stream", b"text/plain"),
        encrypted_message(ALICE).replace(b"--b--", b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--"),
        securejoin(header="vc-auth"),
        securejoin(body="secure-join: vc-request and more"),
        securejoin(more="--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"),
        securejoin().replace(b"multipart/mixed", b"multipart/alternative"),
        SETUP,
    ],
)
def test_refused_as_unencrypted(content: bytes) -> None:
    assert judge(content) == Refuse(523, "Encryption Needed: Invalid Unencrypted Mail")


def test_madmail_says_it_in_its_own_words() -> None:
    rules = PolicyRules(Dialect.MADMAIL)
    assert judge(PLAIN, rules=rules) == Refuse(523, "5.7.1 Encryption Needed")


def test_setup_message_to_oneself_only() -> None:
    assert code(SETUP, recipients=(ALICE,)) is None
    assert code(SETUP, recipients=(ALICE, BOB)) == 523


def test_passthrough() -> None:
    assert code(PLAIN, rules=PolicyRules(passthrough_senders=frozenset({ALICE}))) is None
    assert code(PLAIN, rules=PolicyRules(passthrough_recipients=frozenset({BOB}))) is None
    domain = PolicyRules(passthrough_recipients=frozenset({"@chatmail.test"}))
    assert code(PLAIN, rules=domain) is None
    assert code(PLAIN, recipients=(BOB, "eve@example.org"), rules=domain) == 523


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (f"From: {BOB}", f"Invalid FROM <{BOB}> for <{ALICE}>"),
        (f'From: "{ALICE}" <{BOB}>', f"Invalid FROM <{BOB}> for <{ALICE}>"),
        (f"From: {ALICE}, {BOB}", "Invalid FROM header"),
        (f"From: {ALICE}\r\nFrom: {BOB}", "Invalid FROM header"),
        ("From: ", "Invalid FROM header"),
        ("From: nobody", "Invalid FROM header"),
        (f"From: x <{ALICE}> <{BOB}>", "Invalid FROM header"),
        (f"From: {ALICE} {BOB}", "Invalid FROM header"),
        ("X: y", "Invalid FROM header"),
        ("From: " + "(" * 1900, "Invalid FROM header"),
        (f"From: {ALICE}" + " " * 2048, "Invalid FROM header"),
        (f"From: =?utf-8?q?{BOB}?= <", "Invalid FROM header"),
    ],
)
def test_from_is_the_sender(header: str, text: str) -> None:
    content = encrypted_message(ALICE).replace(f"From: <{ALICE}>".encode(), header.encode())
    verdict = judge(content)
    assert isinstance(verdict, Refuse)
    assert verdict.code == 500
    assert verdict.text.startswith(text)


def test_a_header_without_end_is_refused_early() -> None:
    assert code(f"From: {ALICE}\r\n".encode() + b"X: y\r\n" * 400_000) == 552


@pytest.mark.parametrize("size", [0, 1, 191, 192, 8383, 8384, 70_000])
def test_every_length_form_of_a_packet(size: int) -> None:
    forms = [packet(18, b"x" * size)]
    if 192 <= size <= 8383:
        forms.append(bytes([0xD2, ((size - 192) >> 8) + 192, (size - 192) & 0xFF]) + b"x" * size)
    for form in forms:
        assert is_encrypted_message(PKESK + form)
        assert not is_encrypted_message(PKESK + form + b"x")
        assert not is_encrypted_message((PKESK + form)[:-1])


@pytest.mark.parametrize(
    "packets",
    [
        b"",
        PKESK,
        b"\x84\x03key" + packet(18, b"x"),  # old format header
        packet(18, b"x") + packet(18, b"y"),
        packet(9, b"no integrity protection"),
        PKESK + packet(8, b"compressed"),
        b"\xd2\xff\xff\xff\xff\xff",
        b"\xd2\xfe",
        b"\xd2\xe0",
        b"\xd2\xc0",
        b"\xd2",
    ],
)
def test_not_an_encrypted_message(packets: bytes) -> None:
    assert not is_encrypted_message(packets)


@pytest.mark.parametrize(
    "sender", ["abcdefghi@[127.0.0.1]", "abcdefghi@[IPv6:::1]", "abcdefghi@chatmail.test"]
)
@pytest.mark.parametrize("written", ["{}", "<{}>", '"A. B." <{}>', "=?utf-8?q?=C3=A4?= <{}>"])
def test_the_sender_may_live_at_an_address(sender, written):
    """madmail's users do; the standard library's getaddresses refuses them in some versions of Python."""
    content = encrypted_message(sender).replace(f"<{sender}>".encode(), written.format(sender).encode(), 1)
    assert encrypted_only(Submission(sender.lower(), (BOB,), content), PolicyRules()) == Accept()
