"""Points on which right servers disagree: a row of a table for each dialect, and no question about it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .settings import Dialect

__all__ = ["DIALECTS", "Habits", "literal", "quoted"]


def quoted(text: str | bytes) -> bytes:
    """A quoted string (RFC 3501 section 4.3). The caller knows that there is no line end in it."""
    raw = text.encode() if isinstance(text, str) else text
    return b'"' + raw.replace(b"\\", rb"\\").replace(b'"', rb"\"") + b'"'


def literal(text: str | bytes) -> bytes:
    """A literal (RFC 3501 section 4.3), which can carry everything but NUL."""
    raw = text.encode() if isinstance(text, str) else text
    return b"{%d}\r\n%b" % (len(raw), raw)


@dataclass(frozen=True)
class Habits:
    capabilities_before_login: tuple[str, ...]
    """Those of chatmail's own that are told to everybody; after login all of them are."""
    metadata_value: Callable[[str], bytes]
    unset_metadata_is_nil: bool
    """An unset comment and admin are answered with NIL instead of left out."""
    encryption_needed: str
    """The text behind code 523."""


DIALECTS: Mapping[Dialect, Habits] = {
    # chatmail/relay: Dovecot writes literals; its tests want both words before login.
    Dialect.CHATMAIL: Habits(
        capabilities_before_login=("XCHATMAIL", "XDELTAPUSH"),
        metadata_value=literal,
        unset_metadata_is_nil=False,
        encryption_needed="Encryption Needed: Invalid Unencrypted Mail",
    ),
    # madmail: its test 15 drops literals, so values are quoted; its tests want the words only after login.
    Dialect.MADMAIL: Habits(
        capabilities_before_login=(),
        metadata_value=quoted,
        unset_metadata_is_nil=True,
        encryption_needed="5.7.1 Encryption Needed",
    ),
}
