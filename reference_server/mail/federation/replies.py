"""Replies of an SMTP server (RFC 5321 section 4.2), out of bytes as they come. No IO."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["NotSmtp", "Reply", "ReplyReader"]

LONGEST_LINE = 4096
MOST_LINES = 200
MOST_TOLD = 500
_LINE = re.compile(r"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)


class NotSmtp(Exception):
    """Bytes that are no reply."""


@dataclass(frozen=True)
class Reply:
    code: int
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    @property
    def is_final(self) -> bool:
        """The same would be said again: it makes no sense to try once more."""
        return self.code >= 500

    def __str__(self) -> str:
        """For people, of whom nobody wants to see all that a stranger can write."""
        text = f"{self.code} {' '.join(self.lines)}".strip()[:MOST_TOLD]
        return "".join(each if each.isprintable() else " " for each in text)


class ReplyReader:
    """Collects replies of one connection, within bounds."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[str] = []

    def feed(self, data: bytes) -> list[Reply]:
        """Replies that are complete now. Raises `NotSmtp`."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise NotSmtp(f"a line of a reply has more than {LONGEST_LINE} bytes")
        return [reply for line in complete if (reply := self._line(line)) is not None]

    def _line(self, raw: bytes) -> Reply | None:
        match = _LINE.fullmatch(raw.rstrip(b"\r").decode("utf-8", errors="backslashreplace"))
        if match is None or len(raw) > LONGEST_LINE:
            raise NotSmtp("that is no reply of SMTP")
        self._lines.append(match[3] or "")
        if len(self._lines) > MOST_LINES:
            raise NotSmtp(f"a reply has more than {MOST_LINES} lines")
        if match[2] == "-":
            return None
        lines, self._lines = tuple(self._lines), []
        return Reply(int(match[1]), lines)
