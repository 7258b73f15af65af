"""SEARCH (RFC 3501 section 6.4.4): every key, as predicates over what is known of a message."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_tz
from functools import cached_property

from reference_server.mail.fields import field_name, split_fields
from reference_server.mail.mailbox import FLAGS, RECENT, Message, Part, Refused

from .addresses import addresses, normal_form
from .arguments import MONTHS, text_of
from .entities import Entity, read_entity
from .headers import decoded, field_value
from .parser import Argument, Atom, BadSyntax, SequenceSet
from .view import View

__all__ = ["Candidate", "Criteria", "parse_search"]

MAX_KEYS = 100
CHARSETS = ("US-ASCII", "UTF-8")
_DATE = re.compile(r"(\d{1,2})-([a-z]{3})-(\d{4})", re.IGNORECASE)
_FLAG_KEYS = {flag[1:].upper(): flag for flag in FLAGS}
_ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")
_HEADER_KEYS = ("BCC", "CC", "FROM", "SUBJECT", "TO")
DAY = 86400


@dataclass(frozen=True)
class Candidate:
    """A message, first without and then with as much of it as the criteria need."""

    uid: int
    flags: frozenset[str]
    message: Message | None = None

    @property
    def known(self) -> Message:
        assert self.message is not None  # `Criterion.needs` said so
        return self.message

    @cached_property
    def body_text(self) -> str:
        """In lower case: the body as it is, and once more without transfer encoding and charset."""
        raw = self.known.text.decode("utf-8", "replace").casefold()
        texts: list[str] = []
        _collect_texts(read_entity(self.known.header + self.known.text), texts)
        return "\n".join([raw, *texts])

    @cached_property
    def header_text(self) -> str:
        return "\n".join(decoded(part) for part in split_fields(self.known.header)).casefold()


def _collect_texts(entity: Entity, texts: list[str]) -> None:
    if entity.message is not None:
        _collect_texts(entity.message, texts)
    for child in entity.children:
        _collect_texts(child, texts)
    encoding = str(entity.parsed.get("Content-Transfer-Encoding", "")).strip().lower()
    if entity.type[0] != "text" or entity.children or encoding not in ("base64", "quoted-printable"):
        return
    entity.parsed.set_payload(entity.body.decode("ascii", "replace"))
    data = entity.parsed.get_payload(decode=True)
    if isinstance(data, bytes):
        try:
            texts.append(data.decode(str(entity.parsed.get_content_charset("utf-8")), "replace").casefold())
        except LookupError:
            texts.append(data.decode("utf-8", "replace").casefold())


Test = Callable[[Candidate], bool]


@dataclass(frozen=True)
class Criterion:
    test: Test
    needs: Part | None = None
    """Part of the message that it takes; None: flags and UID are enough."""


@dataclass(frozen=True)
class Criteria:
    """All of them must match."""

    criteria: tuple[Criterion, ...]
    needs: Part | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", _most(self.criteria))

    def possible(self, candidate: Candidate) -> bool:
        """True when it matches as far as flags and UID tell."""
        return all(each.test(candidate) for each in self.criteria if each.needs is None)

    def matches(self, candidate: Candidate) -> bool:
        return all(each.test(candidate) for each in self.criteria)


def parse_search(arguments: Sequence[Argument], view: View) -> Criteria:
    """Raises `BadSyntax`, and `Refused` for a charset that is not served."""
    words = list(arguments)
    if words and isinstance(words[0], Atom) and words[0].text.upper() == "CHARSET":
        if len(words) < 2 or text_of(words[1]).upper() not in CHARSETS:
            raise Refused(f"BADCHARSET ({' '.join(CHARSETS)})", "That charset is not served")
        del words[:2]
    if not words:
        raise BadSyntax("SEARCH needs a key")
    parser = _Parser(view)
    return Criteria(tuple(parser.all_of(words)))


class _Parser:
    def __init__(self, view: View) -> None:
        self._view = view
        self._left = MAX_KEYS

    def all_of(self, words: list[Argument]) -> list[Criterion]:
        """Uses the words up."""
        found = []
        while words:
            found.append(self._key(words))
        return found

    def _key(self, words: list[Argument]) -> Criterion:
        self._left -= 1
        if self._left < 0:
            raise BadSyntax(f"SEARCH takes up to {MAX_KEYS} keys")
        word = self._take(words)
        if isinstance(word, tuple):
            return _all(self.all_of(list(word)))
        key = text_of(word).upper()
        if key == "NOT":
            inner = self._key(words)
            return Criterion(lambda candidate: not inner.test(candidate), inner.needs)
        if key == "OR":
            one, other = self._key(words), self._key(words)
            return Criterion(
                lambda candidate: one.test(candidate) or other.test(candidate), _most((one, other))
            )
        if key[:1].isdigit() or key[:1] == "*":
            return self._numbers(key, uid=False)
        if key == "UID":
            return self._numbers(self._text(words), uid=True)
        return _flag_key(key) or self._flag_argument(key, words) or self._message_key(key, words)

    def _numbers(self, text: str, *, uid: bool) -> Criterion:
        chosen = set(self._view.select(SequenceSet(text), uid=uid))
        return Criterion(lambda candidate: candidate.uid in chosen)

    def _flag_argument(self, key: str, words: list[Argument]) -> Criterion | None:
        if key not in ("KEYWORD", "UNKEYWORD"):
            return None
        keyword, wanted = self._text(words).lower(), key == "KEYWORD"
        return Criterion(lambda candidate: (keyword in map(str.lower, candidate.flags)) is wanted)

    def _message_key(self, key: str, words: list[Argument]) -> Criterion:
        if key in ("BODY", "TEXT"):
            return _text(self._text(words), header_too=key == "TEXT")
        if key == "HEADER":
            return _header(self._text(words), self._text(words))
        if key in _HEADER_KEYS:
            return _header(key, self._text(words))
        if key in ("LARGER", "SMALLER"):
            return _size(self._number(words), larger=key == "LARGER")
        if key.removeprefix("SENT") in ("BEFORE", "ON", "SINCE"):
            return _day(key, _date(self._text(words)))
        raise BadSyntax(f"There is no SEARCH key {key}")

    def _take(self, words: list[Argument]) -> Argument:
        if not words:
            raise BadSyntax("SEARCH ends too early")
        return words.pop(0)

    def _text(self, words: list[Argument]) -> str:
        return text_of(self._take(words))

    def _number(self, words: list[Argument]) -> int:
        text = self._text(words)
        if not (text.isdecimal() and text.isascii() and len(text) <= 10):
            raise BadSyntax("That is no number")
        return int(text)


def _most(criteria: Sequence[Criterion]) -> Part | None:
    return max((each.needs for each in criteria if each.needs is not None), default=None)


def _all(criteria: Sequence[Criterion]) -> Criterion:
    if not criteria:
        raise BadSyntax("SEARCH has an empty list")
    return Criterion(lambda candidate: all(each.test(candidate) for each in criteria), _most(criteria))


def _flag_key(key: str) -> Criterion | None:
    if key == "ALL":
        return Criterion(lambda _candidate: True)
    if key in ("RECENT", "OLD"):
        return Criterion(lambda candidate: (RECENT in candidate.flags) is (key == "RECENT"))
    if key == "NEW":
        return Criterion(lambda candidate: RECENT in candidate.flags and "\\Seen" not in candidate.flags)
    if flag := _FLAG_KEYS.get(key):
        return Criterion(lambda candidate: flag in candidate.flags)
    if flag := _FLAG_KEYS.get(key.removeprefix("UN")):
        return Criterion(lambda candidate: flag not in candidate.flags)
    return None


def _header(name: str, text: str) -> Criterion:
    wanted, needle = name.lower().encode(), text.casefold()

    def test(candidate: Candidate) -> bool:
        return any(
            needle in text.casefold()
            for part in split_fields(candidate.known.header)
            if field_name(part) == wanted
            for text in _readings(wanted, part.partition(b":")[2])
        )

    return Criterion(test, Part.HEADER)


def _readings(name: bytes, value: bytes) -> Iterator[str]:
    """A field as it is, and addresses without what may stand between their parts as well."""
    yield decoded(value)
    if name in _ADDRESS_FIELDS:
        yield decoded(normal_form(addresses(value)).encode("utf-8", "surrogateescape"))


def _date(text: str) -> int:
    """Days since 1970."""
    match = _DATE.fullmatch(text)
    if match is None or match[2].capitalize() not in MONTHS or not 1 <= int(match[1]) <= 31:
        raise BadSyntax("A date is like 1-Feb-2026")
    month = MONTHS.index(match[2].capitalize()) + 1
    return calendar.timegm((max(int(match[3]), 1), month, int(match[1]), 0, 0, 0)) // DAY


def _text(text: str, *, header_too: bool) -> Criterion:
    needle = text.casefold()

    def test(candidate: Candidate) -> bool:
        return needle in candidate.body_text or (header_too and needle in candidate.header_text)

    return Criterion(test, Part.ALL)


def _size(limit: int, *, larger: bool) -> Criterion:
    def test(candidate: Candidate) -> bool:
        size = candidate.known.size
        return size > limit if larger else size < limit

    return Criterion(test, Part.NOTHING)


def _day(key: str, day: int) -> Criterion:
    """BEFORE, ON and SINCE, of the time of arrival or (SENT...) of the Date field."""
    matches = {"BEFORE": day.__gt__, "ON": day.__eq__, "SINCE": day.__le__}[key.removeprefix("SENT")]
    if key.startswith("SENT"):
        return Criterion(lambda candidate: _sent(candidate, matches), Part.HEADER)
    return Criterion(lambda candidate: matches(candidate.known.received // DAY), Part.NOTHING)


def _sent(candidate: Candidate, matches: Callable[[int], bool]) -> bool:
    """By the day in the Date field, whatever its time zone."""
    value = field_value(candidate.known.header, b"date")
    try:
        parsed = parsedate_tz((value or b"")[:100].decode("ascii", "replace"))
        return parsed is not None and matches(calendar.timegm((*parsed[:3], 0, 0, 0)) // DAY)
    except (ValueError, OverflowError, IndexError, TypeError):
        return False
