"""One IMAP session (RFC 3501), without sockets, store or clock.

Bytes and `now` go in (`receive_data`), what the session needs from outside comes out (`next_event`) and is
answered by a method of the session, and bytes for the client pile up for `data_to_send`. One command is at
work at a time; what a client pipelines waits in the reader's bounded buffer (`wants_data`).

What this client was told about its mailbox is a `View`; every change reaches it as a difference between the
view and what the store holds, so that nothing can fall between two commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reference_server.mail.mailbox import (
    FLAGS,
    INBOX,
    Mailbox,
    MailboxStatus,
    Message,
    MessageFlags,
)
from reference_server.mail.settings import Dialect, Limits

from . import metadata
from .arguments import (
    STATUS_ITEMS,
    expect,
    known_flags,
    mailbox_name,
    matches_inbox,
    metadata_keys,
    status_items,
    store_item,
    text_of,
)
from .events import (
    ChangeFlags,
    Event,
    Expunge,
    FetchMessages,
    GetMetadata,
    GetQuota,
    GetStatus,
    LogIn,
    OpenMailbox,
    Refresh,
    StartTls,
)
from .fetch import FetchRequest, parse_fetch
from .parser import (
    Argument,
    BadSyntax,
    BrokenStream,
    Command,
    CommandReader,
    Continuation,
    SequenceSet,
    quoted,
)
from .search import search
from .states import ALLOWED_COMMANDS, AllowedCommands, State
from .view import View

__all__ = ["ImapSession"]


_NO_EXPUNGE_DURING = frozenset({"FETCH", "STORE", "SEARCH"})
"""RFC 3501 section 7.4.1: their numbers must not move under the client."""
_WRITES = frozenset({"STORE", "UID STORE", "EXPUNGE"})
_ALWAYS_REFRESH = frozenset({"NOOP", "CHECK", "EXPUNGE"})


class ImapSession:
    """`tls` says whether the connection is encrypted from its first byte on."""

    def __init__(
        self,
        *,
        tls: bool,
        dialect: Dialect,
        limits: Limits,
        now: float,
        allowed: AllowedCommands = ALLOWED_COMMANDS,
    ) -> None:
        self.state = State.NOT_AUTHENTICATED if tls else State.PLAINTEXT
        self.closed = False
        """The connection ends when `data_to_send` has been sent."""
        self._dialect = dialect
        self._limits = limits
        self._allowed = allowed
        self._reader = CommandReader(
            line_limit=limits.imap_line, literal_limit=limits.imap_literal_before_login
        )
        self._output = bytearray()
        self._event: Event | None = None
        self._busy = False
        self._command = Command("*", "", ())
        self._completion = ""  # of the command at work, while its Refresh is out
        self._fetch: FetchRequest | None = None
        self._view: View | None = None
        self._changed = False
        self._idling = False
        self._opened = self._last_data = self._last_keepalive = now
        self._bad_commands = self._login_failures = 0
        self._untagged(f"OK [CAPABILITY {self._capabilities()}] Chatmail server ready")

    # What the connection tells the session

    @property
    def wants_data(self) -> bool:
        """Whether to read on; False until the client's earlier commands have been dealt with."""
        return not self._reader.full

    def receive_data(self, data: bytes, now: float) -> None:
        self._last_data = now
        self._reader.feed(data)

    def mailbox_changed(self) -> None:
        """Something happened to the mailbox that was opened last."""
        self._changed = True

    def next_deadline(self) -> float:
        """When to call `tick`."""
        if self.state in (State.PLAINTEXT, State.NOT_AUTHENTICATED):
            return self._opened + self._limits.before_login
        silent = self._last_data + self._limits.idle
        if self._idling:
            return min(silent, self._last_keepalive + self._limits.idle_keepalive)
        return silent

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now < self.next_deadline():
            return
        if self._idling and now < self._last_data + self._limits.idle:
            self._last_keepalive = now
            self._untagged("OK Still here")
        else:
            self._bye("Too long without a command")

    def next_event(self, now: float) -> Event | None:
        """What is needed from outside; None: nothing until there are bytes, a change or the deadline."""
        while not self._busy and not self.closed:
            try:
                if not (self._idle_step() if self._idling else self._command_step(now)):
                    break
            except BrokenStream as error:
                self._write(f"{error.tag} BAD {error}")
                self._bye("Goodbye")
            except BadSyntax as error:
                self._bad(error.tag, str(error))
        event, self._event = self._event, None
        return event

    def data_to_send(self) -> bytes:
        data = bytes(self._output)
        self._output.clear()
        return data

    # Commands, one at a time

    def _command_step(self, now: float) -> bool:
        item = self._reader.next()
        if isinstance(item, Continuation):
            self._write("+ OK")
        elif item is not None:
            self._command = item
            self._start(item, now)
        return item is not None

    def _start(self, command: Command, now: float) -> None:
        handler = _HANDLERS.get(command.name)
        if handler is None:
            self._bad(command.tag, "Unknown command, or one that this server does not serve")
        elif command.name == "LOGIN" and self.state is State.PLAINTEXT:
            self._write(f"{command.tag} NO [PRIVACYREQUIRED] Log in after STARTTLS")
        elif command.name not in self._allowed[self.state]:
            self._bad(command.tag, f"{command.name} is not allowed {self.state.value}")
        elif command.name in _WRITES and self._selected().read_only:
            self._write(f"{command.tag} NO [READ-ONLY] The mailbox was opened with EXAMINE")
        else:
            self._last_keepalive = now
            try:
                handler(self, command.arguments)
            except BadSyntax as error:
                self._bad(command.tag, str(error))

    def _capability(self, _arguments: Sequence[Argument]) -> None:
        self._untagged(f"CAPABILITY {self._capabilities()}")
        self._finish("CAPABILITY completed")

    def _noop(self, _arguments: Sequence[Argument]) -> None:
        self._finish(f"{self._command.name} completed")

    def _logout(self, _arguments: Sequence[Argument]) -> None:
        self._bye("Logging out")
        self._write(f"{self._command.tag} OK LOGOUT completed")

    def _id(self, _arguments: Sequence[Argument]) -> None:
        self._untagged('ID ("name" "chatmail reference server")')
        self._finish("ID completed")

    def _starttls(self, _arguments: Sequence[Argument]) -> None:
        self._finish("Begin TLS negotiation now")
        self._reader.discard()  # whoever wrote it was not authenticated by TLS
        self._ask(StartTls())

    def _login(self, arguments: Sequence[Argument]) -> None:
        user, password = expect(2, arguments)
        self._ask(LogIn(text_of(user), text_of(password)))

    def _list(self, arguments: Sequence[Argument]) -> None:
        reference, pattern = (text_of(argument) for argument in expect(2, arguments))
        if not pattern:
            self._untagged('LIST (\\Noselect) "/" ""')
        elif matches_inbox(reference + pattern):
            self._untagged(f'LIST (\\HasNoChildren) "/" {INBOX}')
        self._finish("LIST completed")

    def _select(self, arguments: Sequence[Argument]) -> None:
        (name,) = expect(1, arguments)
        self._unselect()
        self._ask(OpenMailbox(mailbox_name(name)))

    def _status(self, arguments: Sequence[Argument]) -> None:
        name, items = expect(2, arguments)
        status_items(items)
        self._ask(GetStatus(mailbox_name(name)))

    def _getmetadata(self, arguments: Sequence[Argument]) -> None:
        if arguments and isinstance(arguments[0], tuple):
            raise BadSyntax("This server does not serve GETMETADATA options")
        mailbox, entries = expect(2, arguments)
        self._ask(GetMetadata(text_of(mailbox), metadata_keys(entries)))

    def _getquotaroot(self, arguments: Sequence[Argument]) -> None:
        (name,) = expect(1, arguments)
        self._ask(GetQuota(text_of(name)))

    def _idle(self, _arguments: Sequence[Argument]) -> None:
        self._write("+ idling")
        self._idling = True
        self._changed = True  # compare at once: something may have come since the last command

    def _idle_step(self) -> bool:
        line = self._reader.next_line()
        if line is None:
            return self._refresh_if_changed()
        self._idling = False
        if line.upper() == b"DONE":
            self._finish("IDLE completed")
        else:
            self._bad(self._command.tag, "IDLE ends with DONE")
        return True

    def _close(self, _arguments: Sequence[Argument]) -> None:
        view = self._selected()
        if view.read_only:
            self.expunged([])
        else:
            self._ask(Expunge(view.mailbox))

    def _unselect_command(self, _arguments: Sequence[Argument]) -> None:
        self._unselect()
        self._finish("UNSELECT completed")

    def _expunge(self, _arguments: Sequence[Argument]) -> None:
        view = self._selected()
        self._ask(Expunge(view.mailbox))

    def _fetch_command(self, arguments: Sequence[Argument]) -> None:
        chosen, items = expect(2, arguments)
        view = self._selected()
        self._fetch = parse_fetch(items, uid=self._by_uid)
        uids = tuple(view.select(SequenceSet(text_of(chosen)), uid=self._by_uid))
        mark_seen = self._fetch.marks_seen and not view.read_only
        self._ask(FetchMessages(view.mailbox, uids, self._fetch.part, mark_seen))

    def _store(self, arguments: Sequence[Argument]) -> None:
        if len(arguments) < 3:
            raise BadSyntax("STORE needs a set, an item and flags")
        chosen, item, *flags = arguments
        view = self._selected()
        uids = tuple(view.select(SequenceSet(text_of(chosen)), uid=self._by_uid))
        self._ask(ChangeFlags(view.mailbox, uids, store_item(item)[0], known_flags(flags)))

    def _search(self, arguments: Sequence[Argument]) -> None:
        view = self._selected()
        found = search(view, arguments)
        numbers = found if self._by_uid else [view.sequence_number(uid) for uid in found]
        self._untagged(" ".join(["SEARCH", *map(str, numbers)]))
        self._finish(f"{self._command.name} completed")

    # Answers from outside

    def tls_started(self) -> None:
        """Everything that is received from now on came through TLS."""
        self._busy = False
        self.state = State.NOT_AUTHENTICATED

    def logged_in(self) -> None:
        self._busy = False
        self.state = State.AUTHENTICATED
        self._reader.literal_limit = self._limits.imap_literal
        self._finish(f"[CAPABILITY {self._capabilities()}] Logged in")

    def login_refused(self) -> None:
        self._busy = False
        self._login_failures += 1
        self._finish("[AUTHENTICATIONFAILED] Authentication failed.", status="NO")
        if self._login_failures >= self._limits.login_failures:
            self._bye("Too many failed logins")

    def opened(self, mailbox: Mailbox | None) -> None:
        """None: there is no such mailbox."""
        self._busy = False
        if mailbox is None:
            self._finish("[NONEXISTENT] There is no such mailbox", status="NO")
            return
        read_only = self._command.name == "EXAMINE"
        self._view = view = View(mailbox, read_only=read_only)
        self.state = State.SELECTED
        self._changed = False
        self._untagged(f"FLAGS ({' '.join(FLAGS)})")
        self._untagged(f"OK [PERMANENTFLAGS ({'' if read_only else ' '.join(FLAGS)})] Flags permitted")
        self._untagged(f"{len(view)} EXISTS")
        self._untagged("0 RECENT")
        if unseen := view.first_unseen():
            self._untagged(f"OK [UNSEEN {unseen}] First unseen")
        self._untagged(f"OK [UIDVALIDITY {mailbox.uid_validity}] UIDs valid")
        self._untagged(f"OK [UIDNEXT {mailbox.uid_next}] Predicted next UID")
        self._finish(f"[READ-{'ONLY' if read_only else 'WRITE'}] {self._command.name} completed")

    def status(self, status: MailboxStatus | None) -> None:
        """None: there is no such mailbox."""
        self._busy = False
        if status is None:
            self._finish("[NONEXISTENT] There is no such mailbox", status="NO")
            return
        values = (status.messages, 0, status.uid_next, status.uid_validity, status.unseen)
        known = dict(zip(STATUS_ITEMS, values, strict=True))
        pairs = " ".join(f"{name} {known[name]}" for name in status_items(self._command.arguments[1]))
        self._untagged(f"STATUS {INBOX} ({pairs})")
        self._finish("STATUS completed")

    def metadata(self, entries: metadata.Entries) -> None:
        """Those of the keys that exist."""
        self._busy = False
        mailbox = text_of(self._command.arguments[0])
        self._output += metadata.render(mailbox, entries, self._dialect)
        self._finish("GETMETADATA completed")

    def quota(self, used: int, limit: int) -> None:
        """Bytes of the user's messages, and how many they may be."""
        self._busy = False
        name = quoted(text_of(self._command.arguments[0])).decode()
        self._untagged(f'QUOTAROOT {name} "User quota"')
        self._untagged(f'QUOTA "User quota" (STORAGE {-(-used // 1024)} {limit // 1024})')
        self._finish("GETQUOTAROOT completed")

    def fetched(self, message: Message) -> None:
        view, request = self._selected(), self._fetch
        assert request is not None
        changed = view.flags(message.uid) != message.flags
        view.note_flags(message.uid, message.flags)
        number = view.sequence_number(message.uid)
        self._output += request.render(number, message, tell_flags=changed)

    def fetch_done(self) -> None:
        self._busy = False
        self._fetch = None
        self._finish(f"{self._command.name} completed")

    def flags_changed(self, messages: Sequence[MessageFlags]) -> None:
        self._busy = False
        view = self._selected()
        _change, silent = store_item(self._command.arguments[1])
        for message in messages:
            response = view.set_flags(message.uid, message.flags)
            if not silent:
                self._write(response)
        self._finish(f"{self._command.name} completed")

    def expunged(self, uids: Sequence[int]) -> None:
        self._busy = False
        if self._command.name == "CLOSE":
            self._unselect()
        else:
            for response in self._selected().remove(uids):
                self._write(response)
        self._finish(f"{self._command.name} completed")

    def refreshed(self, messages: Sequence[MessageFlags]) -> None:
        """Everything that is in the mailbox, by UID."""
        self._busy = False
        may_expunge = self._idling or self._command.name not in _NO_EXPUNGE_DURING
        responses, complete = self._selected().update(messages, may_expunge=may_expunge)
        for response in responses:
            self._write(response)
        if not complete:
            self._changed = True
        if not self._idling:
            self._write(f"{self._command.tag} {self._completion}")

    def failed(self) -> None:
        """The store could not do what was asked."""
        self._busy = False
        if self._idling:
            self._bye("The store does not answer")
        else:
            self._write(f"{self._command.tag} NO [UNAVAILABLE] The store does not answer, try again later")

    # Helpers

    @property
    def _by_uid(self) -> bool:
        return self._command.name.startswith("UID ")

    def _capabilities(self) -> str:
        words = ["IMAP4rev1", "ID"]
        if self.state is State.PLAINTEXT:
            words += ["STARTTLS", "LOGINDISABLED"]
        if self.state in (State.AUTHENTICATED, State.SELECTED):
            words += ["IDLE", "METADATA", "QUOTA", "UNSELECT", "XCHATMAIL"]
        elif self._dialect is Dialect.CHATMAIL:
            words.append("XCHATMAIL")  # chatmail's own tests want it before login, madmail's only after
        return " ".join(words)

    def _selected(self) -> View:
        assert self._view is not None  # State.SELECTED, and so allowed
        return self._view

    def _unselect(self) -> None:
        self._view = None
        self.state = State.AUTHENTICATED

    def _ask(self, event: Event) -> None:
        self._event = event
        self._busy = True

    def _refresh_if_changed(self) -> bool:
        if self._view is None or not self._changed:
            return False
        self._changed = False
        self._ask(Refresh(self._view.mailbox))
        return True

    def _finish(self, text: str, *, status: str = "OK") -> None:
        """Answer the command at work, after telling what has happened to the mailbox meanwhile."""
        self._completion = f"{status} {text}"
        self._changed |= self._command.name in _ALWAYS_REFRESH
        if not self._refresh_if_changed():
            self._write(f"{self._command.tag} {self._completion}")

    def _bad(self, tag: str, text: str) -> None:
        self._write(f"{tag} BAD {text}")
        self._bad_commands += 1
        if self._bad_commands >= self._limits.imap_bad_commands:
            self._bye("Too many bad commands")

    def _bye(self, text: str) -> None:
        self._untagged(f"BYE {text}")
        self.closed = True

    def _untagged(self, text: str) -> None:
        self._write(f"* {text}")

    def _write(self, line: str | bytes) -> None:
        self._output += line.encode() if isinstance(line, str) else line
        self._output += b"\r\n"


_HANDLERS: Mapping[str, Callable[[ImapSession, Sequence[Argument]], None]] = {
    "CAPABILITY": ImapSession._capability,
    "NOOP": ImapSession._noop,
    "CHECK": ImapSession._noop,
    "LOGOUT": ImapSession._logout,
    "ID": ImapSession._id,
    "STARTTLS": ImapSession._starttls,
    "LOGIN": ImapSession._login,
    "LIST": ImapSession._list,
    "SELECT": ImapSession._select,
    "EXAMINE": ImapSession._select,
    "STATUS": ImapSession._status,
    "GETMETADATA": ImapSession._getmetadata,
    "GETQUOTAROOT": ImapSession._getquotaroot,
    "IDLE": ImapSession._idle,
    "CLOSE": ImapSession._close,
    "UNSELECT": ImapSession._unselect_command,
    "EXPUNGE": ImapSession._expunge,
    "FETCH": ImapSession._fetch_command,
    "UID FETCH": ImapSession._fetch_command,
    "STORE": ImapSession._store,
    "UID STORE": ImapSession._store,
    "SEARCH": ImapSession._search,
    "UID SEARCH": ImapSession._search,
}
