"""Address lists of header fields (RFC 5322 sections 3.4 and 4.4), read as far as they make sense, in linear time.

(The standard library's two parsers lose groups, or take seconds for a long list.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Address", "addresses", "normal_form"]

MAX_ADDRESS_FIELD = 64 * 1024

Address = tuple[str | None, str | None, str | None, str | None]
"""Display name, route, mailbox and host. A group begins with its name as mailbox and no host; its end has only None."""
GROUP_END: Address = (None, None, None, None)

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r'|"(?P<quoted>(?:[^"\\]|\\.)*)"?'
    r"|(?P<literal>\[[^\]\[]*\])"
    r"|(?P<special>[()<>@,;:.])"
    r'|(?P<atom>[^()<>@,;:."\[ \t\r\n]+|.)',
    re.DOTALL,
)
_IN_COMMENT = re.compile(r"(?P<end>[()])|(?P<text>(?:[^()\\]|\\.)+|\\)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True)
class _Token:
    text: str
    special: bool = False
    spaced: bool = False
    """White space or a comment stands before it."""


def addresses(value: bytes) -> list[Address]:
    """Those in a field; none where there is nothing of the kind, or too much."""
    text = value.decode("utf-8", "surrogateescape")
    if len(text) > MAX_ADDRESS_FIELD:
        return []
    reader = _Reader()
    for token in _tokens(text, reader.comments):
        reader.take(token)
    reader.end()
    return reader.found


def normal_form(found: Sequence[Address]) -> str:
    """The list as most people would write it, to search in."""
    words = []
    for name, _route, mailbox, host in found:
        if host is None:
            words.append(f"{mailbox}:" if mailbox is not None else ";")
        else:
            words.append(f"{name or ''} <{mailbox}@{host}>")
    return " ".join(words)


def _tokens(text: str, comments: list[str]) -> Iterator[_Token]:
    """Comments are put aside."""
    at, spaced = 0, False
    while match := _TOKEN.match(text, at):
        at = match.end()
        if match["special"] == "(":
            comment, at = _comment(text, at)
            comments.append(comment)
        if match["space"] or match["special"] == "(":
            spaced = True
            continue
        if match["quoted"] is not None:
            yield _Token(_ESCAPED.sub(r"\1", match["quoted"]), spaced=spaced)
        else:
            yield _Token(match[0], special=match["special"] is not None, spaced=spaced)
        spaced = False


def _comment(text: str, at: int) -> tuple[str, int]:
    """The comment that begins before `at`, with those in it, and the place behind it."""
    depth, words = 1, []
    while match := _IN_COMMENT.match(text, at):
        at = match.end()
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if not depth:
            break
        words.append(_ESCAPED.sub(r"\1", match[0]))
    return "".join(words).strip(), at


@dataclass
class _Reader:
    """Takes tokens up to the end of each address."""

    found: list[Address] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    """Those of this address."""
    _words: list[_Token] = field(default_factory=list)
    _angle: list[_Token] | None = None
    """What stands between < and >."""
    _in_angle: bool = False
    _in_group: bool = False

    def take(self, token: _Token) -> None:
        mark = token.text if token.special else ""
        if self._in_angle and self._angle is not None:
            self._in_angle = mark != ">"
            if self._in_angle:
                self._angle.append(token)
        elif mark == "<":
            self._angle, self._in_angle = [], True
        elif mark == ",":
            self._end_mailbox()
        elif mark == ";":
            self.end()
        elif mark == ":" and not self._in_group and "@" not in _specials(self._words):
            self.found.append((None, None, _phrase(self._words), None))
            self._words, self._in_group = [], True
            self.comments.clear()
        else:
            self._words.append(token)

    def end(self) -> None:
        """Of a group, or of everything."""
        self._end_mailbox()
        if self._in_group:
            self.found.append(GROUP_END)
        self._in_group = False

    def _end_mailbox(self) -> None:
        name, route, spec = None, None, self._words
        if self._angle is not None:
            name = _phrase(self._words) or None
            route, spec = _routed(self._angle)
        if spec:
            name = name or (self.comments[-1] if self._angle is None and self.comments else None)
            self.found.append((name, route, *_spec(spec)))
        self._words, self._angle, self._in_angle = [], None, False
        self.comments.clear()


def _specials(tokens: Sequence[_Token]) -> set[str]:
    return {token.text for token in tokens if token.special}


def _phrase(tokens: Sequence[_Token]) -> str:
    return "".join(" " * token.spaced + token.text for token in tokens).strip()


def _routed(tokens: list[_Token]) -> tuple[str | None, list[_Token]]:
    """Route and address of `<@one,@two:user@host>` (RFC 5322 section 4.4)."""
    colons = [at for at, token in enumerate(tokens) if token.special and token.text == ":"]
    if not colons:
        return None, tokens
    return "".join(token.text for token in tokens[: colons[-1]]) or None, tokens[colons[-1] + 1 :]


def _spec(tokens: Sequence[_Token]) -> tuple[str, str]:
    """Mailbox and host; the host is empty where there is none. White space around dots and @ means nothing."""
    ats = [at for at, token in enumerate(tokens) if token.special and token.text == "@"]
    if not ats:
        return _phrase(tokens), ""
    local, host = tokens[: ats[-1]], tokens[ats[-1] + 1 :]
    return "".join(token.text for token in local), "".join(token.text for token in host)
