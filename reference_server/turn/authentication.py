"""Authentication of requests (RFC 8489, section 9.2.4), and replies to those who have not proven anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .actions import ToClient
from .allocations import Allocation, FiveTuple, source_of
from .credentials import Credentials, Nonces
from .ledger import TurnLedger
from .rate_limit import UnauthenticatedRateLimit
from .settings import Transport, TurnSettings
from .stun import Attribute, Class, Error, Message, Method, attribute, build, error_value

__all__ = ["Authentication", "Signed", "refuse"]


@dataclass(frozen=True, slots=True)
class Signed:
    """An authenticated request: who sent it, with which key, and when."""

    five_tuple: FiveTuple
    message: Message
    username: bytes
    key: bytes
    now: float

    def succeed(self, *attributes: bytes) -> ToClient:
        """The success response."""
        message = self.message
        return ToClient(
            self.five_tuple,
            build(Method(message.method), Class.SUCCESS, message.transaction, attributes, self.key),
        )


def refuse(
    five_tuple: FiveTuple,
    message: Message,
    error: Error,
    attributes: Sequence[bytes] = (),
    key: bytes | None = None,
) -> ToClient:
    """An error response, signed with `key` if there is one."""
    code = attribute(Attribute.ERROR_CODE, error_value(error))
    response = build(Method(message.method), Class.ERROR, message.transaction, (code, *attributes), key)
    return ToClient(five_tuple, response)


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
        self._unauthenticated = UnauthenticatedRateLimit(
            burst=limits.unauthenticated_burst,
            per_second=limits.unauthenticated_per_second,
            remembered=limits.sources_remembered,
        )

    def check(
        self, five_tuple: FiveTuple, message: Message, now: float, running: Allocation | None
    ) -> Signed | ToClient | None:
        """The request if it may be served, or else the answer to it, or None for no answer.

        `running` is the allocation of this 5-tuple: its owner's key outlives the credentials, so that a call does.
        User and realm before the MAC, the nonce last: only who knows the password learns that a nonce is old.
        """
        error = Error.UNAUTHENTICATED
        if message.integrity_at is not None:
            username, realm, nonce = (
                message.get(kind) for kind in (Attribute.USERNAME, Attribute.REALM, Attribute.NONCE)
            )
            if username is None or realm is None or nonce is None:
                return self.to_unauthenticated(refuse(five_tuple, message, Error.BAD_REQUEST), now)
            keys = self._credentials.keys(username, realm)
            if running is not None and (username, realm) == (running.username, self._realm) and self._outlive:
                keys = [*keys, running.key]
            key = next((key for key in keys if message.is_signed_with(key)), None)
            if key is None:
                self._ledger.event(
                    "login_refused", remote=str(five_tuple.client), transport=five_tuple.transport
                )
            elif self._nonces.is_fresh(nonce, five_tuple.client):
                return Signed(five_tuple, message, username, key, now)
            else:
                error = Error.STALE_NONCE
        fresh = attribute(Attribute.NONCE, self._nonces.issue(five_tuple.client))
        return self.to_unauthenticated(
            refuse(five_tuple, message, error, (self._realm_attribute, fresh)), now
        )

    def to_unauthenticated(self, reply: ToClient, now: float) -> ToClient | None:
        """The reply, unless this source has had too many. A stream proves its address; over UDP anybody may be
        meant."""
        five_tuple = reply.five_tuple
        if five_tuple.transport is not Transport.UDP:
            return reply
        if self._unauthenticated.allows(source_of(five_tuple.client), now):
            return reply
        self._ledger.drop("too_many_strangers", len(reply.data))
        return None
