"""From bytes to IMAP commands (RFC 3501 sections 4 and 9). Does no IO.

A `CommandReader` is fed with bytes in any chunking and gives one command at a time, so that a client that
pipelines waits in its buffer and not in a queue of ours. Everything that it keeps is bounded by the line and
literal limits; what goes beyond is a `BrokenStream`, after which client and server no longer agree on where a
command starts.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Argument",
    "Atom",
    "BadSyntax",
    "BrokenStream",
    "Command",
    "CommandReader",
    "Literal",
    "SequenceSet",
]

MAX_DEPTH = 4
"""Of parentheses in parentheses; no command that is served needs more than two."""
MAX_LITERALS = 64
"""An ID may have 60 (RFC 2971 section 3.3)."""
MAX_NUMBER = 2**32 - 1

_TAG = re.compile(rb"[\x21-\x7e]{1,64}")
_APPEND = re.compile(rb"[^ ]+ APPEND ", re.IGNORECASE)
_NOT_IN_TAG = re.compile(rb'[(){%*"\\+]')
_LITERAL = re.compile(rb"\{(\d{1,10})(\+?)\}$")
_FETCH = re.compile(rb"(?:UID )?FETCH ", re.IGNORECASE)
_ATOM = re.compile(rb'[^\x00-\x20\x7f()"{]+')
_BEFORE_SECTION = re.compile(rb'[^\x00-\x20\x7f()"{\[]+')
_QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"')
_SECTION = re.compile(rb"\[[^\]]*\]")
_RANGE = re.compile(r"(\d{1,10}|\*)(?::(\d{1,10}|\*))?")


class BadSyntax(Exception):
    """One command that makes no sense; the connection goes on. The text is for the client."""

    def __init__(self, text: str, tag: str = "*") -> None:
        super().__init__(text)
        self.tag = tag


class BrokenStream(BadSyntax):
    """A line or literal over its limit: the connection has to end."""


@dataclass(frozen=True)
class Atom:
    """A word without quotes, with its `[section]` where it has one: `INBOX`, `\\Seen`, `BODY[]`."""

    text: str


Argument = Atom | bytes | tuple["Argument", ...]
"""`bytes` is a string, quoted or literal (it makes no difference); a tuple is a parenthesised list."""


@dataclass(frozen=True)
class Command:
    """`name` is in upper case, and has `UID ` in front of a UID command."""

    tag: str
    name: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Literal:
    """The client announced a literal. If it is `synchronising` it waits for `+` before it sends (RFC 7888)."""

    tag: str
    size: int
    synchronising: bool


class CommandReader:
    """Cuts a stream into commands. The limits may be raised after login."""

    def __init__(self, *, line_limit: int, literal_limit: int) -> None:
        self.literal_limit = literal_limit
        """Of all literals of a command together."""
        self.append_limit = literal_limit
        """The same for APPEND, whose last one is a message."""
        self._line_limit = line_limit
        self._buffer = bytearray()
        self._parts: list[bytes] = []  # text, literal, text, ... of the command so far
        self._text_size = 0  # bytes of the command so far that are not in literals
        self._literal_size = 0
        self._literal_left: int | None = None

    @property
    def full(self) -> bool:
        """True when enough is buffered for the next step: a careful caller stops reading until it is done."""
        return len(self._buffer) > self._line_limit + (self._literal_left or 0)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take_rest(self) -> bytes:
        """Take what has been received and not been read; it is forgotten here."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def forget_command(self) -> None:
        """The one whose literal was announced will not come."""
        self._parts = []
        self._text_size = self._literal_size = 0
        self._literal_left = None

    def next_line(self) -> bytes | None:
        """The next line without its end, outside of any command: `DONE` (RFC 2177)."""
        end = self._buffer.find(b"\n", 0, self._line_limit)
        if end < 0:
            if len(self._buffer) >= self._line_limit:
                raise BrokenStream(f"Line is longer than {self._line_limit} bytes")
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    def next(self) -> Command | Literal | None:
        """The next command, or None until more bytes come. Raises `BadSyntax` or `BrokenStream`."""
        if self._literal_left is not None and not self._take_literal(self._literal_left):
            return None
        try:
            line = self.next_line()
        except BrokenStream as error:
            raise BrokenStream(str(error), self._tag()) from None
        if line is None:
            return None
        self._parts.append(line)
        self._text_size += len(line)
        if self._text_size > self._line_limit:
            raise BrokenStream(f"Command is longer than {self._line_limit} bytes", self._tag())
        if announced := _LITERAL.search(line):
            return self._expect_literal(announced)
        parts = self._parts
        self.forget_command()
        return parse(parts)

    def _take_literal(self, size: int) -> bool:
        if len(self._buffer) < size:
            return False
        self._parts.append(bytes(self._buffer[:size]))
        del self._buffer[:size]
        self._literal_left = None
        return True

    def _expect_literal(self, announced: re.Match[bytes]) -> Literal:
        size, synchronising, tag = int(announced[1]), not announced[2], self._tag()
        self._literal_size += size
        limit = self.append_limit if _APPEND.match(self._parts[0]) else self.literal_limit
        if self._literal_size > limit or len(self._parts) > 2 * MAX_LITERALS:
            text = f"Literals are limited to {limit} bytes"
            if not synchronising:  # its bytes are on their way and would be read as commands
                raise BrokenStream(text, tag)
            self.forget_command()
            raise BadSyntax(text, tag)
        self._parts[-1] = self._parts[-1][: announced.start()]
        self._literal_left = size
        return Literal(tag, size, synchronising)

    def _tag(self) -> str:
        """The tag of the command that is being read, for an answer that the client can match."""
        start = self._parts[0] if self._parts else bytes(self._buffer[:80])
        return _tag_of(start.split(b" ", 1)[0])


def _tag_of(word: bytes) -> str:
    if _TAG.fullmatch(word) and not _NOT_IN_TAG.search(word):
        return word.decode("ascii")
    return "*"


def parse(parts: Sequence[bytes]) -> Command:
    """One command from its pieces: text at even places, literals between them."""
    tag_word, _, rest = parts[0].partition(b" ")
    tag = _tag_of(tag_word)
    if tag == "*":
        raise BadSyntax("A command starts with a tag")
    try:
        has_sections = _FETCH.match(rest) is not None
        arguments = _Parser([rest, *parts[1:]], has_sections=has_sections).arguments()
    except BadSyntax as error:
        raise BadSyntax(str(error), tag) from None
    words = []
    for argument in arguments[:2]:
        if not isinstance(argument, Atom):
            break
        words.append(argument.text.upper())
    if not words:
        raise BadSyntax("A command has a name", tag)
    if words[0] == "UID" and len(words) == 2:
        return Command(tag, f"UID {words[1]}", tuple(arguments[2:]))
    return Command(tag, words[0], tuple(arguments[1:]))


class _Parser:
    """Recursive descent over the pieces of one command."""

    def __init__(self, parts: Sequence[bytes], *, has_sections: bool) -> None:
        self._patterns = (_BEFORE_SECTION, _SECTION, _ATOM) if has_sections else (_ATOM,)
        self._text = parts[0]
        self._later = list(parts[1:])
        self._at = 0

    def arguments(self) -> list[Argument]:
        found = self._list(depth=0)
        if self._at < len(self._text):
            raise BadSyntax("Unexpected closing parenthesis")
        return found

    def _list(self, depth: int) -> list[Argument]:
        """Everything up to the closing parenthesis, or to the end of the command at depth 0."""
        found: list[Argument] = []
        while True:
            while self._text[self._at : self._at + 1] == b" ":
                self._at += 1
            if self._at == len(self._text):
                if not self._later:
                    if depth:
                        raise BadSyntax("A parenthesis is not closed")
                    return found
                found.append(self._later.pop(0))
                self._text, self._at = self._later.pop(0), 0
            elif self._text[self._at] == ord(")"):
                return found
            else:
                found.append(self._argument(depth))

    def _argument(self, depth: int) -> Argument:
        if self._text[self._at] == ord("("):
            if depth == MAX_DEPTH:
                raise BadSyntax("Too many parentheses")
            self._at += 1
            inner = tuple(self._list(depth + 1))
            self._at += 1
            return inner
        if match := _QUOTED.match(self._text, self._at):
            self._at = match.end()
            return re.sub(rb"\\(.)", rb"\1", match[1])
        return self._atom()

    def _atom(self) -> Atom:
        """An atom; one of FETCH may have a `[section]`, and everywhere else a bracket is a character."""
        start = self._at
        for pattern in self._patterns:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
        text = self._text[start : self._at]
        if not text or not text.isascii():
            raise BadSyntax("Unexpected character")
        return Atom(text.decode("ascii"))


class SequenceSet:
    """`1,3:5,7:*` (RFC 3501 section 9): sequence numbers or UIDs. A huge range costs nothing."""

    def __init__(self, text: str) -> None:
        self._ranges: list[tuple[int | None, int | None]] = []
        for piece in text.split(","):
            match = _RANGE.fullmatch(piece)
            if match is None:
                raise BadSyntax("Not a sequence set")
            first = _number(match[1])
            self._ranges.append((first, first if match[2] is None else _number(match[2])))

    def select(self, numbers: Sequence[int]) -> list[int]:
        """Those of `numbers` (ascending) that are in the set, in order, each once; `*` is the last one."""
        if not numbers:
            return []
        spans = []
        for first, second in self._ranges:
            ends = (first or numbers[-1], second or numbers[-1])
            spans.append((bisect_left(numbers, min(ends)), bisect_right(numbers, max(ends))))
        chosen: list[int] = []
        done = 0
        for start, end in sorted(spans):
            chosen.extend(numbers[max(start, done) : end])
            done = max(done, end)
        return chosen


def _number(text: str) -> int | None:
    if text == "*":
        return None
    number = int(text)
    if not 0 < number <= MAX_NUMBER:
        raise BadSyntax("Not a message number")
    return number
