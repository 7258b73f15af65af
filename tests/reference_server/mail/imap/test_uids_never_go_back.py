"""UIDVALIDITY and UIDNEXT never go back, and a UID never means another message, whatever clients do in any order."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reference_server.mail.imap.context import Want
from tests.reference_server.mail.imap.dialogue import Dialogue, World, logged_in

NAMES = st.sampled_from(["INBOX", "a", "a/b"])
SETS = st.sampled_from(["1", "1:*", "*", "2:3", "9"])
NOISE = st.lists(
    st.sampled_from(
        [b"x ", b"UID ", b"FETCH ", b"1 ", b"BODY[]", b"IDLE\r\n", b"DONE\r\n", b"{3}\r\n", b"(", b'"']
    )
    | st.binary(max_size=6),
    max_size=10,
).map(b"".join)
STATUS = re.compile(rb'\* STATUS "?([^" ]+)"? \(UIDNEXT (\d+) UIDVALIDITY (\d+)\)\r\n')
MESSAGE = re.compile(rb"UID (\d+) BODY\[HEADER\.FIELDS \(SUBJECT\)\] \{\d+\}\r\nSubject: (\d+)\r\n")


class Mailboxes(RuleBasedStateMachine):
    """Several sessions on one account; what was seen of each name is remembered."""

    @initialize()
    def begin(self) -> None:
        self.directory = TemporaryDirectory()
        self.world = World(Path(self.directory.name))
        self.numbers = itertools.count()
        self.seen: dict[bytes, tuple[int, int]] = {}
        self.meanings: dict[tuple[bytes, int, int], bytes] = {}
        self.sessions = [logged_in(self.world), logged_in(self.world)]

    def teardown(self) -> None:
        self.world.store.close()
        self.directory.cleanup()

    def say(self, session: int, command: str) -> None:
        dialogue = self.sessions[session]
        if dialogue.session.closed:
            dialogue = self.sessions[session] = logged_in(self.world)
        if dialogue.session._want is not Want.COMMAND:
            dialogue.receive(b"\r\n")  # ends what the noise has begun
        dialogue.receive(b"x " + command.encode() + b"\r\n")
        dialogue.sent = b""

    def message(self) -> str:
        return f"Subject: {next(self.numbers)}"

    @rule(session=st.integers(0, 1), name=NAMES, verb=st.sampled_from(["SELECT", "EXAMINE"]))
    def open(self, session: int, name: str, verb: str) -> None:
        self.say(session, f"{verb} {name}")

    @rule(session=st.integers(0, 1), name=NAMES, again=st.booleans())
    def delete(self, session: int, name: str, again: bool) -> None:
        self.say(session, f"DELETE {name}")
        if again:
            self.say(session, f"CREATE {name}")

    @rule(session=st.integers(0, 1), old=NAMES, new=NAMES)
    def rename(self, session: int, old: str, new: str) -> None:
        self.say(session, f"DELETE {new}")
        self.say(session, f"RENAME {old} {new}")

    @rule(session=st.integers(0, 1), name=NAMES)
    def append(self, session: int, name: str) -> None:
        message = self.message()
        self.say(session, f"CREATE {name}")
        self.say(session, f"APPEND {name} {{{len(message)}+}}\r\n{message}")

    @rule(session=st.integers(0, 1), name=NAMES, uids=SETS, verb=st.sampled_from(["COPY", "MOVE"]))
    def copy(self, session: int, name: str, uids: str, verb: str) -> None:
        self.say(session, f"UID {verb} {uids} {name}")

    @rule(session=st.integers(0, 1), uids=SETS, end=st.sampled_from(["EXPUNGE", "CLOSE", "NOOP"]))
    def remove(self, session: int, uids: str, end: str) -> None:
        self.say(session, f"UID STORE {uids} +FLAGS (\\Deleted kw)")
        self.say(session, end)

    @rule()
    def deliver(self) -> None:
        self.world.deliver(self.message().encode() + b"\r\n\r\n")

    @rule(session=st.integers(0, 1), noise=NOISE)
    def noise(self, session: int, noise: bytes) -> None:
        self.sessions[session].receive(noise + b"\r\n")

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.sessions = [logged_in(self.world), logged_in(self.world)]

    @invariant()
    def nothing_went_back(self) -> None:
        observer = Dialogue(self.world)
        observer.receive(b'0 LOGIN "alice@chatmail.test" "first password"\r\n')
        for folder in self.world.store.folders(self.world.account.id):
            observer.sent = b""
            observer.receive(b"s STATUS %b (UIDNEXT UIDVALIDITY)\r\n" % folder.name.encode())
            found = STATUS.match(observer.sent)
            assert found, observer.sent
            name, uid_next, validity = found[1], int(found[2]), int(found[3])
            assert (validity, uid_next) >= self.seen.get(name, (0, 0))
            self.seen[name] = (validity, uid_next)
            self.look_at_messages(observer, name, validity, uid_next)
        self.world.sessions.remove(observer)

    def look_at_messages(self, observer: Dialogue, name: bytes, validity: int, uid_next: int) -> None:
        observer.sent = b""
        observer.receive(b"s EXAMINE %b\r\ns UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\n" % name)
        uids = [int(uid) for uid, _subject in MESSAGE.findall(observer.sent)]
        assert uids == sorted(set(uids))
        assert not uids or uids[-1] < uid_next
        for uid, subject in MESSAGE.findall(observer.sent):
            assert self.meanings.setdefault((name, validity, int(uid)), subject) == subject


TestUids = Mailboxes.TestCase
TestUids.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
