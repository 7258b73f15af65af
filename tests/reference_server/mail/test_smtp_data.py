"""DATA: the end of a message is found wherever it falls, dots go, and what comes behind is not lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.mail.settings import Limits
from reference_server.mail.smtp_data import MessageData
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import ALICE, RunningMail, read_until


def collect(
    pieces: list[bytes], *, most: int = 1000, longest_line: int = 100
) -> tuple[MessageData, bytes | None]:
    message = MessageData(most=most, longest_line=longest_line)
    for place, piece in enumerate(pieces):
        rest = message.feed(piece)
        if rest is not None:
            return message, rest + b"".join(pieces[place + 1 :])
    return message, None


@pytest.mark.parametrize(
    ("sent", "content", "rest"),
    [
        (b".\r\n", b"", b""),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"\r\n.\r\nQUIT\r\n", b"\r\n", b"QUIT\r\n"),
        (b"..\r\n...b\r\n.c\r\n.\r\n", b".\r\n..b\r\nc\r\n", b""),
        (b"a\n.\n\n.\r\nb\r.\r\n.\r\n", b"a\n.\n\n.\r\nb\r.\r\n", b""),
        (b".\r\n.\r\n", b"", b".\r\n"),
        (b"a.\r\n.", None, None),
        (b"", None, None),
    ],
)
def test_the_end_of_a_message(sent: bytes, content: bytes | None, rest: bytes | None) -> None:
    message, behind = collect([sent])
    assert behind == rest
    assert content is None or message.take() == content


@given(
    st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"QUIT"]), max_size=30).map(b"".join),
    st.lists(st.integers(0, 60), max_size=10),
)
def test_pieces_do_not_matter(sent: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    pieces = [sent[start:end] for start, end in pairwise(places)]
    whole, parts = collect([sent]), collect(pieces)
    assert whole[1] == parts[1]
    if whole[1] is not None:
        assert whole[0].take() == parts[0].take()
        assert whole[0].too_long == parts[0].too_long


def test_of_what_is_too_large_nothing_is_kept() -> None:
    message, rest = collect([b"x" * 90 + b"\r\n"] * 1000 + [b".\r\nNOOP\r\n"])
    assert (message.too_large, rest) == (True, b"NOOP\r\n")
    assert len(message._data) < 200


@pytest.mark.parametrize(("size", "too_long"), [(100, False), (103, True), (1000, True)])
@pytest.mark.parametrize("before", [0, 1, 99, 100, 500])
def test_long_lines(size: int, too_long: bool, before: int) -> None:
    message, _rest = collect(
        [b"a\r\n" * before + b"x" * size + b"\r\n" + b"b\r\n" * 200 + b".\r\n"], most=10_000
    )
    assert message.too_long is too_long


def test_commands_behind_a_message_are_answered(mail: RunningMail) -> None:
    """Whoever sends everything in one piece gets every answer, in order."""
    mail.create(ALICE)
    with mail.smtp() as client:
        client.mail(ALICE)
        client.rcpt(ALICE)
        sock = client.sock
        assert sock is not None
        sock.sendall(b"DATA\r\n" + encrypted_message(ALICE) + b".\r\nNOOP\r\nVRFY x\r\n")
        answer = read_until(sock, b"252 ")
        assert [line[:4] for line in answer.splitlines()] == [b"354 ", b"250 ", b"250 ", b"252 "]


def test_a_message_may_take_longer_than_a_command(start_mail: StartMail) -> None:
    """A slow link: each piece counts as a sign of life."""
    mail = start_mail(limits=Limits(smtp_idle=1.0))
    mail.create(ALICE)
    content = encrypted_message(ALICE)
    with mail.smtp() as client:
        client.mail(ALICE)
        client.rcpt(ALICE)
        client.docmd("DATA")
        sock = client.sock
        assert sock is not None
        for start in range(0, len(content), 100):
            sock.sendall(content[start : start + 100])
            with pytest.raises(TimeoutError):
                sock.settimeout(0.4)
                sock.recv(1)
        sock.settimeout(20)
        sock.sendall(b".\r\n")
        assert read_until(sock, b"\r\n").startswith(b"250 ")
