"""Every command that this server knows."""

from __future__ import annotations

from collections.abc import Mapping

from . import logins, mailboxes, messages, metadata
from .context import Handler

__all__ = ["HANDLERS"]

HANDLERS: Mapping[str, Handler] = {
    "CAPABILITY": logins.capability,
    "NOOP": logins.noop,
    "CHECK": logins.noop,
    "LOGOUT": logins.logout,
    "ID": logins.identify,
    "STARTTLS": logins.starttls,
    "LOGIN": logins.login,
    "AUTHENTICATE": logins.authenticate,
    "COMPRESS": logins.compress,
    "IDLE": logins.idle,
    "SELECT": mailboxes.select,
    "EXAMINE": mailboxes.select,
    "CREATE": mailboxes.create,
    "DELETE": mailboxes.delete,
    "RENAME": mailboxes.rename,
    "SUBSCRIBE": mailboxes.subscribe,
    "UNSUBSCRIBE": mailboxes.subscribe,
    "LIST": mailboxes.list_mailboxes,
    "LSUB": mailboxes.list_mailboxes,
    "STATUS": mailboxes.status,
    "NAMESPACE": mailboxes.namespace,
    "APPEND": mailboxes.append,
    "GETQUOTA": mailboxes.get_quota,
    "GETQUOTAROOT": mailboxes.get_quota_root,
    "GETMETADATA": metadata.get_metadata,
    "SETMETADATA": metadata.set_metadata,
    "CLOSE": messages.close,
    "UNSELECT": messages.unselect,
    "EXPUNGE": messages.expunge,
    "UID EXPUNGE": messages.expunge,
    "FETCH": messages.fetch,
    "UID FETCH": messages.fetch,
    "STORE": messages.store,
    "UID STORE": messages.store,
    "SEARCH": messages.search,
    "UID SEARCH": messages.search,
    "COPY": messages.copy,
    "UID COPY": messages.copy,
    "MOVE": messages.move,
    "UID MOVE": messages.move,
}
