"""One IMAP session (RFC 3501), without sockets, store or clock.

Bytes and `now` go in (`receive_data`), what the session needs from outside comes out (`next_event`) and is
answered by `answer` or `refuse`, and bytes for the client pile up for `data_to_send`. One command is at work at a
time, as a generator that waits for what it needs; what a client pipelines waits in the reader's bounded buffer
(`wants_data`).

What this client was told about its mailbox is a `View`; every change reaches it as a difference between the
view and what the store holds, so that nothing can fall between two commands.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from reference_server.mail.mailbox import Refused

from .commands import HANDLERS
from .compression import Deflate
from .context import Context, Profile, Want, ask
from .events import Event, ReserveMemory, StartTls
from .logins import catch_up
from .parser import BadSyntax, BrokenStream, Command, CommandReader, Literal
from .states import State

__all__ = ["ImapSession"]

_NO_EXPUNGE_DURING = frozenset({"FETCH", "STORE", "SEARCH"})
"""RFC 3501 section 7.4.1: their numbers must not move under the client."""
_ALWAYS_REFRESH = frozenset({"NOOP", "CHECK", "EXPUNGE"})
STEPS = 16
"""Commands, or pieces of what was compressed, that a client may have dealt with before it is the turn of others."""
_BEFORE_LOGIN = (State.PLAINTEXT, State.NOT_AUTHENTICATED)

_Program = Generator[Event[Any] | Want, Any, None]


class ImapSession:
    """`tls` says whether the connection is encrypted from its first byte on."""

    def __init__(self, profile: Profile, *, tls: bool, now: float) -> None:
        limits = profile.limits
        self._context = Context(profile, State.NOT_AUTHENTICATED if tls else State.PLAINTEXT)
        self._limits = limits
        self._reader = CommandReader(
            line_limit=limits.imap_line, literal_limit=limits.imap_literal_before_login
        )
        self._deflate: Deflate | None = None
        self._sealed = bytearray()  # output from before compression began
        self._reserved = False
        self._literal_began: float | None = None
        self._event: Event[Any] | None = None
        self._unanswered = False
        self.busy = False
        """True when there is more to do without further data: `next_event` is to be asked again, after others."""
        self._now = self._opened = self._last_data = self._last_keepalive = now
        self._bad_commands = 0
        self._context.untagged(f"OK [CAPABILITY {self._context.capabilities()}] Chatmail server ready")
        self._program = self._converse()
        self._want: Event[Any] | Want = next(self._program)

    # What the connection tells the session

    @property
    def closed(self) -> bool:
        """The connection ends when `data_to_send` has been sent."""
        return self._context.closed

    @property
    def wants_data(self) -> bool:
        """True while there is room to read on; False until the client's earlier commands have been dealt with."""
        return not (self._reader.full or (self._deflate is not None and self._deflate.pending))

    def receive_data(self, data: bytes, now: float) -> None:
        self._last_data = now
        if self._deflate is None:
            self._reader.feed(data)
        else:
            self._deflate.receive(data)

    def mailbox_changed(self) -> None:
        """Something happened to the mailbox that is watched."""
        self._context.changed = True

    def next_deadline(self) -> float:
        """Time at which to call `tick`."""
        if self._context.state in _BEFORE_LOGIN:
            return self._opened + self._limits.before_login
        deadline = self._last_data + self._limits.idle
        if self._literal_began is not None:
            deadline = min(deadline, self._literal_began + self._limits.transfer)
        if self._want is Want.LINE_OR_CHANGE:
            deadline = min(deadline, self._last_keepalive + self._limits.idle_keepalive)
        return deadline

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now < self.next_deadline():
            return
        if self._want is Want.LINE_OR_CHANGE and now < self._last_data + self._limits.idle:
            self._last_keepalive = now
            self._context.untagged("OK Still here")
        else:
            self._context.bye("Too long without a command")

    def next_event(self, now: float) -> Event[Any] | None:
        """The event that is needed from outside; None: nothing until there are bytes, a change or the deadline."""
        self._now = now
        self.busy = False
        for step in range(STEPS + 1):
            if self._unanswered or self.closed:
                break
            if step == STEPS:
                self.busy = True
                break
            try:
                if not self._step():
                    break
            except BrokenStream as error:
                self._context.write(f"{error.tag} BAD {error}")
                self._context.bye("Goodbye")
            except BadSyntax as error:
                self._literal_began = None
                self._bad(error.tag, str(error))
        event, self._event = self._event, None
        return event

    def answer(self, value: Any) -> None:
        """To the event that came last; `events` says of which type."""
        self._unanswered = False
        self._go_on(self._program.send(value))

    def refuse(self, reason: Refused) -> None:
        """It cannot be done."""
        self._unanswered = False
        self._go_on(self._program.throw(reason))

    def data_to_send(self) -> bytes:
        output, self._context.output = bytes(self._context.output), bytearray()
        if self._deflate is not None and output:
            output = self._deflate.pack(output)
        data = bytes(self._sealed) + output
        self._sealed.clear()
        return data

    # The engine

    def _step(self) -> bool:
        """Give the program what it waits for; False when that is not there yet."""
        read: Callable[[], Command | Literal | bytes | None] = self._reader.next_line
        if self._want is Want.COMMAND:
            read = self._reader.next
        value = read()
        if value is None and self._deflate is not None and self._deflate.pending:
            self._reader.feed(self._deflate.unpack())
            return True
        if value is None and not (self._want is Want.LINE_OR_CHANGE and self._context.has_news):
            return False
        self._go_on(self._program.send(value))
        return True

    def _go_on(self, want: Event[Any] | Want) -> None:
        self._want = want
        if isinstance(want, Event):
            self._event = want
            self._unanswered = True

    # The program

    def _converse(self) -> _Program:
        while True:
            yield from self._take((yield Want.COMMAND))

    def _take(self, item: Command | Literal) -> _Program:
        """Nothing keeps a command, with the message that it may carry, until the next one comes."""
        if isinstance(item, Literal):
            yield from self._admit(item)
            return
        self._literal_began = None
        self._last_keepalive = self._now
        yield from self._serve(item)
        if self._reserved:
            self._reserved = False
            yield from ask(ReserveMemory(0))

    def _admit(self, literal: Literal) -> _Program:
        """Memory for a large one may be used up by other clients."""
        if self._literal_began is None:
            self._literal_began = self._now
        if literal.size > self._limits.imap_literal:
            granted = yield from ask(ReserveMemory(literal.size))
            self._reserved |= granted
            if not granted:
                self._reader.forget_command()
                self._literal_began = None
                self._context.write(f"{literal.tag} NO [LIMIT] Too much mail is coming in, try again later")
                if not literal.synchronising:  # it is on its way already
                    self._context.bye("Goodbye")
                return
        if literal.synchronising:
            self._context.write("+ OK")

    def _serve(self, command: Command) -> _Program:
        context = self._context
        status = "OK"
        try:
            text = self._handle(command)
            if isinstance(text, Generator):
                text = yield from text
            text = text or context.completed(command.name)
        except Refused as refusal:
            status, text = "NO", str(refusal)
        except BadSyntax as error:
            self._bad(command.tag, str(error))
            return
        yield from self._catch_up(command)
        context.write(f"{command.tag} {status} {text}")
        if status == "OK":
            yield from self._switch(command)
        elif context.login_failures >= self._limits.login_failures:
            context.bye("Too many failed logins")

    def _handle(self, command: Command) -> Any:
        handler, state = HANDLERS.get(command.name), self._context.state
        if handler is None:
            raise BadSyntax("Unknown command, or one that this server does not serve")
        if command.name in ("LOGIN", "AUTHENTICATE") and state is State.PLAINTEXT:
            raise Refused("PRIVACYREQUIRED", "Log in after STARTTLS")
        if command.name not in self._context.profile.allowed[state]:
            raise BadSyntax(f"{command.name} is not allowed {state.value}")
        return handler(self._context, command)

    def _catch_up(self, command: Command) -> _Program:
        """Tell what has happened to the mailbox meanwhile, before the answer."""
        context = self._context
        if context.closed:
            return  # nothing stands behind BYE
        context.changed |= command.name in _ALWAYS_REFRESH
        try:
            yield from catch_up(context, may_expunge=command.name not in _NO_EXPUNGE_DURING)
        except Refused:
            return  # the command was done; the change is told another time

    def _switch(self, command: Command) -> _Program:
        """Start what an OK sets in motion."""
        context = self._context
        if command.name == "STARTTLS":
            self._reader.take_rest()  # whoever wrote it was not authenticated by TLS
            yield from ask(StartTls())
            context.state = State.NOT_AUTHENTICATED
        elif command.name in ("LOGIN", "AUTHENTICATE"):
            self._reader.literal_limit = self._limits.imap_literal
            self._reader.append_limit = self._limits.message
        elif context.compressed and self._deflate is None:
            self._sealed += context.output
            context.output.clear()
            self._deflate = Deflate()
            self._deflate.receive(self._reader.take_rest())

    def _bad(self, tag: str, text: str) -> None:
        self._context.write(f"{tag} BAD {text}")
        self._bad_commands += 1
        if self._bad_commands >= self._limits.imap_bad_commands:
            self._context.bye("Too many bad commands")
