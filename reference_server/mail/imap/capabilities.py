"""The answer to CAPABILITY (RFC 3501 section 7.2.1): exactly what is served, when it is."""

from __future__ import annotations

from collections.abc import Callable

from reference_server.mail.dialects import Habits

from .states import State

__all__ = ["Capabilities", "capabilities"]

_ALWAYS = ("IMAP4rev1", "LITERAL+", "ID")
_AFTER_LOGIN = (
    *("CHILDREN", "IDLE", "METADATA", "MOVE", "NAMESPACE", "QUOTA", "UIDPLUS", "UNSELECT"),
    *("XCHATMAIL", "XDELTAPUSH"),
)

Capabilities = Callable[[State, Habits, bool], tuple[str, ...]]
"""Gets the state, the dialect's habits, and whether COMPRESS is on offer."""


def capabilities(state: State, habits: Habits, compress: bool) -> tuple[str, ...]:
    match state:
        case State.PLAINTEXT:
            return (*_ALWAYS, "STARTTLS", "LOGINDISABLED", *habits.capabilities_before_login)
        case State.NOT_AUTHENTICATED:
            return (*_ALWAYS, "SASL-IR", "AUTH=PLAIN", *habits.capabilities_before_login)
        case _:
            return (*_ALWAYS, *_AFTER_LOGIN, *(["COMPRESS=DEFLATE"] if compress else []))
