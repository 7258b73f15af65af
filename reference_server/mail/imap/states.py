"""Commands by the states in which they are allowed (RFC 3501 section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

__all__ = ["ALLOWED_COMMANDS", "AllowedCommands", "State"]


class State(Enum):
    PLAINTEXT = "before STARTTLS"
    NOT_AUTHENTICATED = "before LOGIN"
    AUTHENTICATED = "after LOGIN, without a selected mailbox"
    SELECTED = "after LOGIN, with a selected mailbox"


AllowedCommands = Mapping[State, frozenset[str]]

_ANY_STATE = frozenset({"CAPABILITY", "NOOP", "LOGOUT", "ID"})
_AUTHENTICATED = (
    _ANY_STATE
    | {"SELECT", "EXAMINE", "CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "LIST", "LSUB"}
    | {"STATUS", "APPEND", "IDLE", "NAMESPACE", "COMPRESS"}
    | {"GETQUOTA", "GETQUOTAROOT", "GETMETADATA", "SETMETADATA"}
)
ALLOWED_COMMANDS: AllowedCommands = {
    State.PLAINTEXT: _ANY_STATE | {"STARTTLS"},
    State.NOT_AUTHENTICATED: _ANY_STATE | {"LOGIN", "AUTHENTICATE"},
    State.AUTHENTICATED: _AUTHENTICATED,
    State.SELECTED: _AUTHENTICATED
    | {"CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "UID EXPUNGE"}
    | {"FETCH", "STORE", "SEARCH", "COPY", "MOVE"}
    | {"UID FETCH", "UID STORE", "UID SEARCH", "UID COPY", "UID MOVE"},
}
