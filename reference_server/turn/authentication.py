"""Before a request counts: who sent it (RFC 8489, section 9.2.4), and what strangers are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .actions import ToClient
from .allocations import Allocation, FiveTuple, source_of
from .credentials import Credentials, Nonces
from .ledger import TurnLedger
from .settings import Transport, TurnSettings
from .strangers import Strangers
from .stun import Attribute, Class, Error, Message, Method, attribute, build, error_value

__all__ = ["Authentication", "Signed", "refuse"]


@dataclass(frozen=True, slots=True)
class Signed:
    """An authenticated request: who sent it, with which key, and when."""

    path: FiveTuple
    message: Message
    username: bytes
    key: bytes
    now: float

    def succeed(self, *attributes: bytes) -> ToClient:
        """The success response."""
        message = self.message
        return ToClient(
            self.path,
            build(Method(message.method), Class.SUCCESS, message.transaction, attributes, self.key),
        )


def refuse(
    path: FiveTuple,
    message: Message,
    error: Error,
    attributes: Sequence[bytes] = (),
    key: bytes | None = None,
) -> ToClient:
    """An error response, signed with `key` if there is one."""
    code = attribute(Attribute.ERROR_CODE, error_value(error))
    response = build(Method(message.method), Class.ERROR, message.transaction, (code, *attributes), key)
    return ToClient(path, response)


class Authentication:
    """Checks requests without remembering anything about those who send them, but for how often they ask."""

    def __init__(
        self, settings: TurnSettings, credentials: Credentials, ledger: TurnLedger, nonces: Nonces
    ) -> None:
        limits = settings.limits
        self._credentials = credentials
        self._ledger = ledger
        self._nonces = nonces
        self._realm = settings.realm.encode()
        self._realm_attribute = attribute(Attribute.REALM, self._realm)
        self._outlive = settings.outlive_credentials
        self._strangers = Strangers(
            burst=limits.strangers_burst,
            per_second=limits.strangers_per_second,
            remembered=limits.sources_remembered,
        )

    def check(
        self, path: FiveTuple, message: Message, now: float, running: Allocation | None
    ) -> Signed | ToClient | None:
        """The request if it may be served, or else the answer to it, or None for no answer.

        `running` is the allocation of this path: its owner's key outlives the credentials, so that a call does.
        User and realm before the MAC, the nonce last: only who knows the password learns that a nonce is old.
        """
        error = Error.UNAUTHENTICATED
        if message.integrity_at is not None:
            username, realm, nonce = (
                message.get(kind) for kind in (Attribute.USERNAME, Attribute.REALM, Attribute.NONCE)
            )
            if username is None or realm is None or nonce is None:
                return self.to_stranger(refuse(path, message, Error.BAD_REQUEST), now)
            keys = self._credentials.keys(username, realm)
            if running is not None and (username, realm) == (running.username, self._realm) and self._outlive:
                keys = [*keys, running.key]
            key = next((key for key in keys if message.is_signed_with(key)), None)
            if key is None:
                self._ledger.event("login_refused", remote=str(path.client), transport=path.transport)
            elif self._nonces.is_fresh(nonce, path.client):
                return Signed(path, message, username, key, now)
            else:
                error = Error.STALE_NONCE
        fresh = attribute(Attribute.NONCE, self._nonces.issue(path.client))
        return self.to_stranger(refuse(path, message, error, (self._realm_attribute, fresh)), now)

    def to_stranger(self, reply: ToClient, now: float) -> ToClient | None:
        """The reply, unless this source has had too many. A stream proves its address; over UDP anybody may be
        meant."""
        path = reply.path
        if path.transport is not Transport.UDP:
            return reply
        if self._strangers.may_be_answered(source_of(path.client), now):
            return reply
        self._ledger.drop("too_many_strangers", len(reply.data))
        return None
