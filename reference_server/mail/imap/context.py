"""Context of the commands of one session: its state, what it may do, and what it writes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from reference_server.mail.dialects import DIALECTS, Habits
from reference_server.mail.mailbox import Refused
from reference_server.mail.settings import Dialect, Limits

from .capabilities import Capabilities, capabilities
from .events import Event
from .parser import Command
from .states import ALLOWED_COMMANDS, AllowedCommands, State
from .view import View

__all__ = ["Context", "Handler", "Profile", "Steps", "Want", "ask", "read_line"]

T = TypeVar("T")


class Want(Enum):
    """Events that a command waits for, besides answers to its events."""

    COMMAND = "a command, or the announcement of a literal in it"
    LINE = "a line from the client, as bytes without its end"
    LINE_OR_CHANGE = "a line, or None: the mailbox changed"


Steps = Generator[Event[Any] | Want, Any, str | None]
"""A command at work. It ends with the text of its OK (None: "... completed"), with `Refused` for a NO or with
`BadSyntax` for a BAD."""


def ask(event: Event[T]) -> Generator[Event[Any], Any, T]:
    answer: T = yield event
    return answer


def read_line() -> Generator[Want, Any, bytes]:
    line: bytes = yield Want.LINE
    return line


@dataclass(frozen=True)
class Profile:
    """Properties of a server's sessions."""

    dialect: Dialect = Dialect.CHATMAIL
    limits: Limits = field(default_factory=Limits)
    compress: bool = False
    allowed: AllowedCommands = field(default_factory=lambda: ALLOWED_COMMANDS)
    capabilities: Capabilities = capabilities

    @property
    def habits(self) -> Habits:
        return DIALECTS[self.dialect]


class Context:
    """Of one session. Only the command at work changes it, and the session between commands."""

    def __init__(self, profile: Profile, state: State) -> None:
        self.profile = profile
        self.state = state
        self.closed = False
        """The connection ends when everything that was written has been sent."""
        self.view: View | None = None
        self.changed = False
        """Something happened to the open mailbox since the view was last compared with it."""
        self.login_failures = 0
        self.compressed = False
        self.output = bytearray()

    @property
    def limits(self) -> Limits:
        return self.profile.limits

    @property
    def selected(self) -> View:
        assert self.view is not None  # State.SELECTED, and so allowed
        return self.view

    @property
    def has_news(self) -> bool:
        """True when the view may differ from the mailbox."""
        return self.changed and self.view is not None

    def for_writing(self) -> View:
        if self.selected.read_only:
            raise Refused("READ-ONLY", "The mailbox was opened with EXAMINE")
        return self.selected

    def unselect(self) -> None:
        self.view = None
        self.state = State.AUTHENTICATED

    def capabilities(self) -> str:
        compress = self.profile.compress and not self.compressed
        return " ".join(self.profile.capabilities(self.state, self.profile.habits, compress))

    def completed(self, command: str) -> str:
        """The text behind OK for a command that has no other."""
        return self.profile.habits.completed.get(command, f"{command} completed")

    def untagged(self, text: str) -> None:
        self.write(f"* {text}")

    def bye(self, text: str) -> None:
        self.untagged(f"BYE {text}")
        self.closed = True

    def write(self, line: str | bytes) -> None:
        self.output += line.encode() if isinstance(line, str) else line
        self.output += b"\r\n"

    def write_all(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            self.write(line)


Handler = Callable[[Context, Command], Steps | str | None]
"""Commands that ask nothing of the world need no steps."""
