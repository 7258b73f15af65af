"""METADATA (RFC 5464): what the server tells its users about itself, and how the two dialects write it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reference_server.mail.settings import Dialect, MailSettings

from .parser import quoted

__all__ = ["Entries", "render", "server_metadata"]

COMMENT = "/shared/comment"
ADMIN = "/shared/admin"
VENDOR = "/shared/vendor/deltachat"

Entries = Mapping[str, str | None]
"""From key to value; None is written as NIL."""


def server_metadata(settings: MailSettings, keys: Iterable[str]) -> Entries:
    """Those of `keys` that the server knows. A key without a value is left out, except in the madmail
    dialect, which answers an unset comment and admin with NIL."""
    known = {
        COMMENT: lambda: settings.comment,
        ADMIN: lambda: settings.admin,
        f"{VENDOR}/irohrelay": lambda: settings.iroh_relay_url,
        f"{VENDOR}/turn": settings.turn,
        f"{VENDOR}/turns": settings.turns,
        f"{VENDOR}/maxsmtprecipients": lambda: str(settings.limits.recipients),
    }
    nil = (COMMENT, ADMIN) if settings.dialect is Dialect.MADMAIL else ()
    values = {key: make() for key in keys if (make := known.get(key))}
    return {key: value for key, value in values.items() if value is not None or key in nil}


def render(mailbox: str, entries: Entries, dialect: Dialect) -> bytes:
    """One `* METADATA` response, or nothing when there are no entries (the grammar has no empty list).

    Dovecot, and so chatmail, writes values as literals; madmail writes quoted strings.
    """
    if not entries:
        return b""
    pairs = b" ".join(
        key.encode() + b" " + (b"NIL" if value is None else _string(value, dialect))
        for key, value in entries.items()
    )
    return b"* METADATA " + quoted(mailbox) + b" (" + pairs + b")\r\n"


def _string(value: str, dialect: Dialect) -> bytes:
    if dialect is Dialect.MADMAIL:
        return quoted(value)
    raw = value.encode()
    return b"{%d}\r\n%b" % (len(raw), raw)
