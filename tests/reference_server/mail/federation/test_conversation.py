"""The client's side of SMTP as dialogues: what the server says, and what it must hear next. No sockets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.mail.federation.conversation import (
    Answers,
    Envelope,
    Fate,
    HostFailed,
    Say,
    StartTls,
    converse,
)
from reference_server.mail.federation.replies import NotSmtp, Reply, ReplyReader
from reference_server.mail.settings import OutgoingTls

BOB, CAROL = "bob@two.test", "carol@two.test"
MAIL = Envelope("alice@one.test", (BOB, CAROL), b"From: x\r\n\r\n.dot\r\nend\r\n")
HELLO = ("EHLO one.test", "250-two.test\n250-SIZE 1000\n250 8BITMIME")
FROM = "MAIL FROM:<alice@one.test> SIZE=22 BODY=8BITMIME"
TLS = "<TLS>"


def replies(text: str) -> list[Reply]:
    return ReplyReader().feed(text.replace("\n", "\r\n").encode() + b"\r\n")


def play(*script: tuple[str, str], mail: Envelope = MAIL, tls: OutgoingTls = OutgoingTls.MAY) -> Answers:
    """Hold the dialogue: `(what is said to the server, its answer)`. The greeting is the first, said to nothing."""
    conversation = converse(mail, "one.test", tls)
    step = next(conversation)
    for said, answer in script:
        if said == TLS:
            assert isinstance(step, StartTls)
            sent: Sequence[Reply] = []
        else:
            assert isinstance(step, Say)
            assert step.data.decode() == ("\r\n".join([*said.split("\n"), ""]) if said else "")
            sent = replies(answer)
            assert len(sent) == step.replies
        try:
            step = conversation.send(sent)
        except StopIteration as end:
            assert (said, answer) == script[-1]
            answers: Answers = end.value
            return answers
    raise AssertionError(f"there is more to say: {step}")


QUIT = ("QUIT", "221 bye")
START = (("", "220 two.test"), HELLO, (FROM, "250 ok"))


def fates(answers: Answers) -> list[Fate]:
    return [answers[each].fate for each in (BOB, CAROL)]


def test_a_mail_is_delivered_with_its_dots_doubled() -> None:
    answers = play(
        *START,
        (f"RCPT TO:<{BOB}>", "250 ok"),
        (f"RCPT TO:<{CAROL}>", "250 ok"),
        ("DATA", "354 go on"),
        ("From: x\n\n..dot\nend\n.", "250 stored"),
        QUIT,
    )
    assert fates(answers) == [Fate.DELIVERED, Fate.DELIVERED]


@pytest.mark.parametrize(
    ("to_bob", "of_data", "wanted"),
    [
        ("550 5.1.1 unknown", "250 ok", [Fate.NEVER, Fate.DELIVERED]),
        ("450 later", "250 ok", [Fate.LATER, Fate.DELIVERED]),
        ("452 too many", "250 ok", [Fate.LATER, Fate.DELIVERED]),
        ("552 too many recipients", "250 ok", [Fate.LATER, Fate.DELIVERED]),
        ("552 5.2.2 mailbox full", "250 ok", [Fate.NEVER, Fate.DELIVERED]),
        ("250 ok", "523 Encryption Needed", [Fate.NEVER, Fate.NEVER]),
        ("250 ok", "451 disk full", [Fate.LATER, Fate.LATER]),
        ("550 5.1.1 unknown", "451 disk full", [Fate.NEVER, Fate.LATER]),
    ],
)
def test_each_recipient_has_an_answer_of_its_own(to_bob: str, of_data: str, wanted: list[Fate]) -> None:
    answers = play(
        *START,
        (f"RCPT TO:<{BOB}>", to_bob),
        (f"RCPT TO:<{CAROL}>", "250 ok"),
        ("DATA", "354 go on"),
        ("From: x\n\n..dot\nend\n.", of_data),
        QUIT,
    )
    assert fates(answers) == wanted


def test_no_mail_is_sent_when_nobody_is_left_to_get_it() -> None:
    answers = play(*START, (f"RCPT TO:<{BOB}>", "550 no"), (f"RCPT TO:<{CAROL}>", "451 later"), QUIT)
    assert fates(answers) == [Fate.NEVER, Fate.LATER]


@pytest.mark.parametrize(("answer", "fate"), [("553 not you", Fate.NEVER), ("421 go away", Fate.LATER)])
def test_an_answer_to_mail_is_one_for_everybody(answer: str, fate: Fate) -> None:
    answers = play(("", "220 two.test"), HELLO, (FROM, answer), QUIT)
    assert fates(answers) == [fate, fate]


def test_data_may_be_refused() -> None:
    rcpts = [(f"RCPT TO:<{each}>", "250 ok") for each in (BOB, CAROL)]
    assert fates(play(*START, *rcpts, ("DATA", "451 not now"), QUIT)) == [Fate.LATER, Fate.LATER]


def test_commands_are_sent_together_where_the_server_takes_them() -> None:
    answers = play(
        ("", "220 two.test"),
        ("EHLO one.test", "250-two.test\n250-pipelining\n250 8BITMIME"),
        ("MAIL FROM:<alice@one.test> BODY=8BITMIME", "250 ok"),
        (f"RCPT TO:<{BOB}>\nRCPT TO:<{CAROL}>", "250 ok\n550 no"),
        ("DATA", "354 go on"),
        ("From: x\n\n..dot\nend\n.", "250 stored"),
        QUIT,
    )
    assert fates(answers) == [Fate.DELIVERED, Fate.NEVER]


def test_tls_is_begun_where_the_server_has_it_and_what_it_offered_before_is_forgotten() -> None:
    answers = play(
        ("", "220-two\n220 test"),
        ("EHLO one.test", "250-two.test\n250-PIPELINING\n250 STARTTLS"),
        ("STARTTLS", "220 go"),
        (TLS, ""),
        ("EHLO one.test", "250 two.test"),
        ("MAIL FROM:<alice@one.test>", "550 no"),
        QUIT,
    )
    assert fates(answers) == [Fate.NEVER, Fate.NEVER]


def test_without_tls_nothing_is_sent_that_needs_it() -> None:
    with pytest.raises(HostFailed, match="offers no STARTTLS"):
        play(("", "220 two.test"), HELLO, tls=OutgoingTls.ENCRYPT)
    offer = ("EHLO one.test", "250-two.test\n250 STARTTLS")
    with pytest.raises(HostFailed, match="answers STARTTLS with 454"):
        play(("", "220 two.test"), offer, ("STARTTLS", "454 no"), tls=OutgoingTls.VERIFY)


@pytest.mark.parametrize("greeting", ["421 too busy", "450 later", "554 no mail here"])
def test_a_server_that_greets_with_no_is_left_for_another_one(greeting: str) -> None:
    with pytest.raises(HostFailed, match=greeting):
        play(("", greeting))


def test_a_server_of_old_is_greeted_with_helo() -> None:
    answers = play(
        ("", "220 two.test"),
        ("EHLO one.test", "502 what"),
        ("HELO one.test", "250 hello"),
        ("MAIL FROM:<alice@one.test>", "550 no"),
        QUIT,
    )
    assert fates(answers) == [Fate.NEVER, Fate.NEVER]


def test_a_mail_that_the_server_does_not_take_is_not_sent_at_all() -> None:
    small = ("EHLO one.test", "250-two.test\n250 SIZE 10")
    assert fates(play(("", "220 two.test"), small, QUIT)) == [Fate.NEVER, Fate.NEVER]
    umlaut = Envelope("alice@one.test", ("b\u00fc@two.test",), b"x")
    answers = play(("", "220 two.test"), HELLO, QUIT, mail=umlaut)
    assert [each.fate for each in answers.values()] == [Fate.NEVER]


@given(st.lists(st.integers(1, 7)))
def test_replies_may_come_in_any_pieces(sizes: list[int]) -> None:
    data = b"220-first\r\n220 second\r\n250\r\n550 5.1.1 no\n"
    reader, found, at = ReplyReader(), [], 0
    for size in [*sizes, len(data)]:
        found += reader.feed(data[at : at + size])
        at += size
    assert found == [Reply(220, ("first", "second")), Reply(250, ("",)), Reply(550, ("5.1.1 no",))]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"99 x\r\n",
        b"\x16\x03\x01\n",
        b"2" * 5000,
        b"250-x\r\n" * 300,
        b"600 x\n",
    ],
)
def test_what_is_no_reply_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(NotSmtp):
        ReplyReader().feed(data)
