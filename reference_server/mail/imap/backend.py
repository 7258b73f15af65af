"""Answers the events of a session that are about stored mail. Runs where the store runs, without sockets."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import Any

from reference_server.mail.settings import MailSettings
from reference_server.mail.store import Account, Store

from . import events
from .metadata import DEVICE_TOKEN, below, server_metadata

__all__ = ["Answer", "Backend"]


@dataclass(frozen=True)
class Answer:
    """The value that the event asks for, and the mailboxes whose sessions must hear of a change."""

    value: Any = None
    changed: tuple[int, ...] = ()


class Backend:
    """For one session. There is no account before login, when only the server's own metadata can be asked for."""

    def __init__(
        self,
        store: Store,
        account: Account | None,
        settings: MailSettings,
        turn_secret: str | None,
        quota: int | None = None,
    ) -> None:
        """`quota`: bytes of mail of this account; None: as many as all have."""
        self._store = store
        self._account = account
        self._settings = settings
        self._turn_secret = turn_secret
        self._quota = settings.limits.quota if quota is None else quota

    @property
    def _user(self) -> Account:
        assert self._account is not None
        return self._account

    @singledispatchmethod
    def perform(self, event: events.Event[Any]) -> Answer:
        """Raises `Refused` and `sqlite3.Error`."""
        raise TypeError(f"{type(event).__name__} is not about stored mail")

    # Mailboxes

    @perform.register
    def _find(self, event: events.FindMailbox) -> Answer:
        return Answer(self._store.find_mailbox(self._user.id, event.name))

    @perform.register
    def _open(self, event: events.OpenMailbox) -> Answer:
        return Answer(self._store.open_mailbox(event.mailbox, claim=event.claim))

    @perform.register
    def _list(self, _event: events.ListMailboxes) -> Answer:
        return Answer(self._store.folders(self._user.id))

    @perform.register
    def _create(self, event: events.CreateMailbox) -> Answer:
        self._store.create_mailbox(self._user.id, event.name, limit=self._settings.limits.mailboxes)
        return Answer()

    @perform.register
    def _delete(self, event: events.DeleteMailbox) -> Answer:
        mailbox = self._store.find_mailbox(self._user.id, event.name)
        self._store.delete_mailbox(self._user.id, event.name)
        return Answer(changed=(mailbox,))

    @perform.register
    def _rename(self, event: events.RenameMailbox) -> Answer:
        mailbox = self._store.find_mailbox(self._user.id, event.old)
        limit = self._settings.limits.mailboxes
        self._store.rename_mailbox(self._user.id, event.old, event.new, limit=limit)
        return Answer(changed=(mailbox,))

    @perform.register
    def _subscribe(self, event: events.Subscribe) -> Answer:
        self._store.subscribe(self._user.id, event.name, event.subscribed)
        return Answer()

    @perform.register
    def _status(self, event: events.GetStatus) -> Answer:
        return Answer(self._store.status(event.mailbox))

    @perform.register
    def _get_quota(self, _event: events.GetQuota) -> Answer:
        return Answer((self._store.used_bytes(self._user.id), self._quota))

    # Messages

    @perform.register
    def _refresh(self, event: events.Refresh) -> Answer:
        return Answer(self._store.flags(event.mailbox, claim=event.claim))

    @perform.register
    def _fetch(self, event: events.FetchMessages) -> Answer:
        messages = self._store.fetch(event.mailbox, event.uids, event.part, mark_seen=event.mark_seen)
        return Answer(messages, (event.mailbox,) if event.mark_seen else ())

    @perform.register
    def _change_flags(self, event: events.ChangeFlags) -> Answer:
        changed = self._store.change_flags(event.mailbox, event.uids, event.change, event.flags)
        return Answer(changed, (event.mailbox,))

    @perform.register
    def _append(self, event: events.Append) -> Answer:
        received = int(time.time()) if event.received is None else event.received
        added = self._store.append(event.mailbox, event.content, event.flags, received, quota=self._quota)
        return Answer(added, (event.mailbox,))

    @perform.register
    def _copy(self, event: events.Copy) -> Answer:
        copied = self._store.copy(event.mailbox, event.uids, event.target, quota=self._quota)
        return Answer(copied, (event.target,))

    @perform.register
    def _move(self, event: events.Move) -> Answer:
        moved = self._store.move(event.mailbox, event.uids, event.target)
        return Answer(moved, (event.mailbox, event.target))

    @perform.register
    def _expunge(self, event: events.Expunge) -> Answer:
        return Answer(self._store.expunge(event.mailbox, event.among), (event.mailbox,))

    # Metadata

    @perform.register
    def _get_metadata(self, event: events.GetMetadata) -> Answer:
        if event.mailbox:
            return Answer(self._mailbox_metadata(event))
        return Answer(server_metadata(self._settings, self._turn_secret, event.keys, event.depth))

    def _mailbox_metadata(self, event: events.GetMetadata) -> Mapping[str, str | None]:
        mailbox = self._store.find_mailbox(self._user.id, event.mailbox)
        if mailbox != self._user.inbox or not below(DEVICE_TOKEN, event.keys, event.depth):
            return {}
        tokens = self._store.device_tokens(self._user.id, now=time.time())
        return {DEVICE_TOKEN: " ".join(tokens)} if tokens else {}

    @perform.register
    def _set_device_token(self, event: events.SetDeviceToken) -> Answer:
        limits = self._settings.limits
        if event.token is None:
            self._store.remove_device_tokens(self._user.id)
        else:
            self._store.add_device_token(
                self._user.id,
                event.token,
                now=time.time(),
                lifetime=limits.device_token_lifetime,
                limit=limits.device_tokens,
            )
        return Answer()
