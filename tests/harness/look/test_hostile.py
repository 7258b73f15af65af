"""Servers that are slow, endless, or say things that no server says: a look ends in time, and says so in a sentence."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

import pytest

from harness.diagnosis.diagnosis import diagnose
from harness.diagnosis.text import render
from harness.hosts import LocalHost
from harness.look.look import look_at
from harness.look.names import MOST_ADDRESSES, look_at_name
from harness.target import Target

from ..scripted import Tls
from .hostile import (
    CAPABLE,
    HOSTILE,
    RELAY,
    TURN,
    Answer,
    endless,
    imap,
    metadata,
    over_tls,
    saying,
    serving,
    with_imap,
)

LONGEST = 10.0


def causes_of(tls: Tls, handlers: Mapping[str, Answer]) -> tuple[list[str], str]:
    with serving(tls, handlers) as target:
        began = time.monotonic()
        found = diagnose(look_at(target, LocalHost(), parts=("turn", "relay")))
    assert time.monotonic() - began < LONGEST
    text = render(found)
    assert not set(text) & {"\x1b", "\x00", "\u202e"}
    assert len(text) < 12_000
    assert max(map(len, text.splitlines())) < 400
    return [each.cause.name for each in found.causes], text


@pytest.mark.parametrize(
    "handler",
    [
        saying(b"* BYE " + HOSTILE + b"\r\n"),
        saying(b"not IMAP at all\r\n"),
        endless(b"* OK no end of a line "),
        saying(b"* OK", b" too slow\r\n", pause=10),
        saying(),
    ],
    ids=["BYE", "garbage", "endless line", "slow", "silence"],
)
def test_imap_that_serves_nobody(tls, handler):
    names, _ = causes_of(tls, with_imap(tls, handler))
    assert names == ["mail.refuses_sessions"]


def refusing(answer: bytes) -> Answer:
    """IMAP that answers LOGIN like this, with the tag in place of `TAG`."""

    def serve(session: socket.socket) -> None:
        session.sendall(b"* OK ready\r\n")
        lines = session.makefile("rb")
        while line := lines.readline():
            tag, command, *_ = line.split()
            said = answer.replace(b"TAG", tag) if command.upper() == b"LOGIN" else tag + b" OK done"
            session.sendall(CAPABLE.get(command.upper(), b"") + said + b"\r\n")

    return serve


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"TAG NO [AUTHENTICATIONFAILED] closed", "mail.registration_closed"),
        (b"TAG NO [UNAVAILABLE] Temporary authentication failure", "mail.log_in_fails"),
        (b"TAG NO [PRIVACYREQUIRED] Plaintext authentication disallowed", "mail.log_in_fails"),
        (b"TAG BAD unknown command", "mail.log_in_fails"),
        (b"* BYE [UNAVAILABLE] shutting down", "mail.log_in_fails"),
        (b"TAG NO [LIMIT] Maximum number of connections exceeded", None),
    ],
)
def test_a_log_in_that_is_refused_is_told_by_whose_fault_it_is(tls, answer, cause):
    names, text = causes_of(tls, with_imap(tls, refusing(answer)))
    assert names == ([cause] if cause else [])
    assert ("COULD NOT TELL" in text) is (cause is None)
    assert "b'" not in text and "command" not in text.replace("unknown command", "").replace(
        "the command", ""
    )


def test_imap_that_takes_everybody_for_somebody(tls):
    names, text = causes_of(tls, with_imap(tls, saying(b"* PREAUTH hello\r\n")))
    assert names == ["mail.refuses_sessions"]
    assert "logged in already" in " ".join(text.split())


@pytest.mark.parametrize("greeting", [b"* OK IMAP4rev1\r\n", b"220 chat.example ESMTP\r\n", b"SSH-2.0-x\r\n"])
def test_a_relay_at_the_port_of_another_service_is_told_soon(tls, greeting):
    with serving(tls, {"imaps": saying(greeting)}) as other:
        url = f"http://{other.host}:{other.imaps}".encode()
        names, text = causes_of(tls, with_imap(tls, imap(metadata(RELAY, url))))
    assert names[0] == "relay.no_relay_there"
    assert f"`{greeting.decode().strip()}` in place of HTTP" in " ".join(text.split())


def test_a_redirect_in_place_of_the_relay_is_told_with_its_place(tls):
    place = b"Location: https://chat.example/\x1b[31m\r\n"
    head = b"HTTP/1.1 301 Moved\r\nServer: nginx\r\nContent-Length: 0\r\n" + place + b"\r\n"
    with serving(tls, {"imaps": saying(head)}) as web:
        names, text = causes_of(
            tls, with_imap(tls, imap(metadata(RELAY, f"http://{web.host}:{web.imaps}".encode())))
        )
    assert names[0] == "relay.no_relay_there"
    assert "It is a redirect to `https://chat.example/" in " ".join(text.split())


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        (b"nkfvRIGUcx0N/jq/StNLPajpLZE= ", "begins or ends with white space"),
        (b"nkfvRIGUcx0N/jq/StNLPajpLZE=\r", "begins or ends with white space"),
        (b"alice:nkfvRIGUcx0N/jq/StNLPajpLZE=", "it has 34 characters"),
        (b"nkfvRIGUcx0N/jq_StNLPajpLZE=", "it is no base64"),
        (b"nkfvRIGUcx0N/jq/StNLPajpLZE=", ""),
    ],
)
def test_a_password_that_no_secret_makes(tls, password, problem):
    value = b"127.0.0.1:1:1758650868:" + password
    with serving(tls, with_imap(tls, imap(metadata(TURN, value)))) as target:
        mail = look_at(target, LocalHost(), parts=("turn",), briefly=True).mail
    assert mail is not None and mail.expiry == "1758650868"
    assert mail.password_problem.startswith(problem) if not problem else problem in mail.password_problem
    assert bool(mail.password_problem) is bool(problem)


def test_a_tls_handshake_that_hangs(tls):
    names, text = causes_of(tls, {**with_imap(tls, saying()), "imaps": saying()})
    assert names == ["mail.refuses_sessions"]
    assert "nothing answered in time" in " ".join(text.split())


def test_answers_that_take_ten_seconds(tls):
    names, text = causes_of(tls, with_imap(tls, imap(CAPABLE, pause=10)))
    assert names == []
    assert "COULD NOT TELL" in text


def test_lines_without_end_in_place_of_an_answer(tls):
    def serve(session: socket.socket) -> None:
        session.sendall(b"* OK ready\r\n")
        session.recv(100)
        while True:
            session.sendall(b"* 1 EXISTS\r\n" * 1000)

    names, text = causes_of(tls, with_imap(tls, serve))
    assert names == []
    assert "COULD NOT TELL" in text


def test_a_literal_that_is_announced_and_never_comes(tls):
    answers = CAPABLE | {b"GETMETADATA": b'* METADATA "" (/shared/comment {999999999}\r\n'}
    assert causes_of(tls, with_imap(tls, imap(answers)))[0] == ["metadata.unreadable"]


def test_a_value_of_one_megabyte(tls):
    names, _ = causes_of(tls, with_imap(tls, imap(metadata(TURN, b"x" * 1024 * 1024))))
    assert names == ["metadata.turn_unusable", "metadata.relay_missing"]


def test_a_relay_url_with_user_and_password_shows_neither(tls):
    for value in (b"http://user:hunter2@127.0.0.1:9/", b"user:hunter2@nowhere" + HOSTILE):
        names, text = causes_of(tls, with_imap(tls, imap(metadata(RELAY, value))))
        assert names[0] in ("relay.port_closed", "metadata.relay_unusable")
        assert "hunter2" not in text


def test_a_turn_value_with_a_short_password_is_no_error_of_ours(tls):
    names, text = causes_of(tls, with_imap(tls, imap(metadata(TURN, b"127.0.0.1:9:1:pw"))))
    assert "turn.not_answering" in names
    assert ":pw" not in text


def test_replies_of_smtp_without_end_keep_nothing(tls):
    handlers = dict(with_imap(tls, imap(CAPABLE)))
    handlers["submissions"] = over_tls(tls, endless(b"220-more\r\n"))
    with serving(tls, handlers) as target:
        look = look_at(target, LocalHost())
    assert look.seconds < LONGEST
    assert look.mail is not None and look.mail.submission == "broken"


def test_five_hundred_addresses_are_not_all_looked_at():
    class Many(LocalHost):
        def resolve(self, name: str) -> tuple[str, ...]:
            return tuple(f"127.9.{each // 250}.{each % 250 + 1}" for each in range(500))

    found = look_at_name(Many(), "many.example", own=["127.9.0.1"])
    assert (found.count, len(found.addresses), len(found.foreign)) == (500, MOST_ADDRESSES, MOST_ADDRESSES)


def test_a_name_server_that_is_silent_is_waited_for_as_core_does():
    class Silent(LocalHost):
        def resolve(self, name: str) -> tuple[str, ...]:
            time.sleep(30)  # the fault itself: longer than anybody waits
            return ("127.0.0.1",)

    began = time.monotonic()
    assert look_at_name(Silent(), "silent.example").failure == "silent"
    assert time.monotonic() - began < LONGEST


def test_a_self_signed_certificate_is_seen_and_the_look_goes_on(tls):
    handlers = with_imap(tls, imap(CAPABLE))
    with serving(tls, handlers) as target:
        without_ca = Target(**{**vars(target), "ca_file": None, "name": "self-signed"})
        look = look_at(without_ca, LocalHost(), parts=("turn",))
    assert {each.problem for each in look.certificates} == {"untrusted"}
    assert look.certificates[0].self_signed
    assert not look.verified
    assert look.mail is not None and look.mail.metadata == "read"
