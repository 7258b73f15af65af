"""Whatever bytes come, in whatever pieces: the session answers, stays bounded and never raises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.mail.imap.context import Profile
from reference_server.mail.imap.session import ImapSession
from reference_server.mail.settings import Limits
from tests.reference_server.mail.imap.dialogue import LOGIN, Dialogue, World

WORDS = (
    b'a |b |\r\n|\n|LOGIN |UID |FETCH |STORE |SELECT |INBOX|IDLE|DONE|1:*|*| |(|)|"|{3}|{3+}|{0}\r\n|BODY[|]|+'
    b'|BODY.PEEK[] |FLAGS|GETMETADATA |"" |/shared/comment|SEARCH ALL|CLOSE|EXPUNGE|NOOP|\\Seen|LOGOUT\r\n'
    b"|APPEND INBOX {3+}\r\nabc\r\n|CREATE |x/y|DELETE |RENAME |COPY |MOVE |UID EXPUNGE |AUTHENTICATE PLAIN\r\n|=|*\r\n"
    b"|SETMETADATA INBOX (/private/devicetoken x)|COMPRESS DEFLATE\r\n|BODYSTRUCTURE|ENVELOPE|BODY[1.MIME]<0.5>"
    b"|OR |NOT |TEXT x|LSUB |NAMESPACE\r\n|kw|(DEPTH 1)|AUTHENTICATE\r\n|ID (|NIL|]|x[y|BODY[x|\\\\|SEARCH NEW|RECENT"
    b"|FROM |/shared/*|a LOGOUT\r\n|\\Recent|a NOOP\r\n|INTERNALDATE|SUBSCRIBE x/y|%"
    b"|a SELECT INBOX\r\n|a IDLE\r\n|STARTTLS\r\n|\x00|\xff\xfe|4294967296|GETQUOTAROOT |STATUS |(UIDNEXT)|LIST "
).split(b"|")
STREAMS = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=60).map(b"".join)
SMALL = Limits(imap_line=200, imap_literal=100, imap_literal_before_login=50)


@contextmanager
def new_world() -> Iterator[World]:
    with TemporaryDirectory() as directory:
        world = World(Path(directory))
        world.deliver()
        yield world
        world.store.close()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(ends)]


@settings(max_examples=60, deadline=None)
@given(data=STREAMS, cuts=st.lists(st.integers(min_value=0), max_size=20), login=st.booleans())
def test_pieces_do_not_matter(data: bytes, cuts: list[int], login: bool) -> None:
    assert transcript([data], login=login) == transcript(pieces(data, cuts), login=login)


def transcript(chunks: list[bytes], *, login: bool) -> tuple[bytes, bool]:
    with new_world() as world:
        dialogue = Dialogue(world, limits=SMALL)
        if login:
            dialogue.receive(LOGIN)
        for chunk in chunks:
            dialogue.receive(chunk)
        return re.sub(rb"(UIDVALIDITY|APPENDUID|COPYUID) \d+", b"", dialogue.sent), dialogue.session.closed


@given(chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=60))
def test_a_session_that_is_not_answered_stays_bounded(chunks: list[bytes]) -> None:
    """The shell stops reading while `wants_data` is False; then no more than one chunk is above the limits."""
    session = ImapSession(Profile(limits=SMALL), tls=True, now=0)
    session.receive_data(b"a LOGIN x y\r\n", 0)
    assert session.next_event(0) is not None
    taken = 0
    for chunk in chunks:
        if session.wants_data:
            session.receive_data(chunk, 0)
            taken += len(chunk)
        assert session.next_event(0) is None
    assert taken <= SMALL.imap_line + SMALL.imap_literal_before_login + 300
