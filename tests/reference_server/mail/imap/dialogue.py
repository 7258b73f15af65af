"""Drives an `ImapSession` by a script, with a real store and without sockets.

Lines of a script: `C: ` what the client sends, `S: ` the next line that the server must have written (`...` stands for
anything), `T: ` lets so many seconds pass, `MAIL` delivers a message and tells the session, `MAIL unnoticed` does
not tell it, `OTHER: ` lets another session of the same account send a command. What is left unread at the end of
a script is a failure. Every failure names the line of the script.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from reference_server.mail.imap import events
from reference_server.mail.imap.backend import Backend
from reference_server.mail.imap.context import Profile
from reference_server.mail.imap.session import ImapSession
from reference_server.mail.mailbox import Refused
from reference_server.mail.settings import Dialect, Limits, MailSettings
from reference_server.mail.store import NewMessage, Store

PASSWORD = "first password"
MESSAGE = b"From: alice@chatmail.test\r\nSubject: hello\r\n\r\nworld\r\n"


class World:
    """One account, whose sessions see each other's changes."""

    def __init__(self, directory: Path, *, dialect: Dialect = Dialect.CHATMAIL, **settings: Any) -> None:
        self.settings = MailSettings(
            state=directory,
            dialect=dialect,
            iroh_relay_url="http://127.0.0.1:3340",
            admin='mailto:"root"@chatmail.test',
            **settings,
        )
        self.store = Store(self.settings.database)
        self.store.create_account("alice@chatmail.test", "hash", limit=10)
        account = self.store.account("alice@chatmail.test")
        assert account is not None
        self.account = account
        self.sessions: list[Dialogue] = []

    def deliver(self, content: bytes = MESSAGE, *, tell: bool = True) -> None:
        self.store.deliver([NewMessage((self.account.inbox,), content, 1_790_000_000)])
        if tell:
            self.publish()

    def publish(self) -> None:
        for dialogue in self.sessions:
            dialogue.session.mailbox_changed()

    def restart(self) -> None:
        """What is not in the file is forgotten, sessions too."""
        self.sessions.clear()
        self.store.close()
        self.store = Store(self.settings.database)


class Dialogue:
    """One session and the store's side of it."""

    def __init__(
        self, world: World, *, tls: bool = True, limits: Limits | None = None, compress: bool = False
    ) -> None:
        self.world = world
        self.now = 1000.0
        self.sent = b""
        self.tls_starts = 0
        self.settings = replace(world.settings, limits=limits or Limits())
        self.memory = self.settings.limits.messages_in_memory
        profile = Profile(dialect=self.settings.dialect, limits=self.settings.limits, compress=compress)
        self.session = ImapSession(profile, tls=tls, now=self.now)
        world.sessions.append(self)
        self.work()

    def run(self, script: str) -> None:
        other: Dialogue | None = None
        for number, line in enumerate(script.strip().split("\n"), 1):
            word, _, rest = line.strip().partition(" ")
            place = f"line {number} of the script: {line.strip()!r}"
            if word == "C:":
                self.receive(rest.encode() + b"\r\n")
            elif word == "S:":
                self._expect(rest, place)
            elif word == "T:":
                self.now += float(rest)
                self.session.tick(self.now)
                self.work()
            elif word == "MAIL":
                self.world.deliver(tell=rest != "unnoticed")
                self.work()
            elif word == "OTHER:":
                if other is None:
                    other = Dialogue(self.world)
                    other.receive(LOGIN + b"o SELECT INBOX\r\n")
                other.receive(b"o " + rest.encode() + b"\r\n")
                self.work()
            else:
                raise AssertionError(f"{place} means nothing")
        assert self.sent == b"", f"at the end of the script the server has also said {self.sent!r}"

    def _expect(self, pattern: str, place: str) -> None:
        line, end, self.sent = self.sent.partition(b"\r\n")
        assert end, f"{place}: the server has said nothing more (closed: {self.session.closed})"
        expected = ".*".join(map(re.escape, pattern.split("...")))
        assert re.fullmatch(expected, line.decode()), f"{place}: the server said {line!r}"

    def receive(self, data: bytes) -> None:
        self.session.receive_data(data, self.now)
        self.work()

    def work(self) -> None:
        while (event := self.session.next_event(self.now)) is not None or self.session.busy:
            if event is not None:
                self._answer(event)
        self.sent += self.session.data_to_send()

    def _answer(self, event: events.Event[Any]) -> None:
        match event:
            case events.StartTls():
                self.tls_starts += 1
                self.session.answer(None)
            case events.LogIn():
                self.session.answer(event.password == PASSWORD)
            case events.ReserveMemory():
                self.session.answer(event.size <= self.memory)
            case _:
                self._perform(event)

    def _perform(self, event: events.Event[Any]) -> None:
        backend = Backend(self.world.store, self.world.account, self.settings, None)
        try:
            answer = backend.perform(event)
        except Refused as reason:
            self.session.refuse(reason)
            return
        if answer.changed:
            self.world.publish()
        self.session.answer(answer.value)


LOGIN = b'0 LOGIN "alice@chatmail.test" "first password"\r\n'


def logged_in(world: World, *, limits: Limits | None = None) -> Dialogue:
    dialogue = Dialogue(world, limits=limits)
    dialogue.receive(LOGIN)
    dialogue.sent = b""
    return dialogue


def selected(world: World, *, limits: Limits | None = None) -> Dialogue:
    dialogue = logged_in(world, limits=limits)
    dialogue.receive(b"0 SELECT INBOX\r\n")
    dialogue.sent = b""
    return dialogue
