"""Mail with other servers, as the rest of the mail service sees it: what is sent there, and what comes from there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..delivery import Notifier
from ..dialects import DIALECTS
from ..outgoing import OutgoingMail
from ..settings import MailSettings
from .client import Client
from .courier import Courier, tls_rule
from .inbound import Inbound
from .overrides import Overrides
from .routes import OwnPlace, address_in, is_domain
from .signatures import load_signer

__all__ = ["Federation"]

_LOCAL_PART = re.compile(r"[^\x00-\x20\x7f\"(),:;<>@\[\\\]]{1,64}")
"""Without quotation marks; its length is that of RFC 5321 section 4.5.3.1.1."""


class Federation:
    """Runs from `start` to `close`."""

    def __init__(self, inbound: Inbound, notifier: Notifier, overrides: Overrides) -> None:
        settings = inbound.settings
        self.inbound = inbound
        self._limit = settings.limits.queue
        self._store = inbound.store
        domain = inbound.own_domain
        self._signer = None if domain.startswith("[") else load_signer(domain, settings.state / "dkim")
        addresses = {settings.host, address_in(domain) or settings.host}
        own = OwnPlace(frozenset({domain}), frozenset(addresses))
        client = Client(domain, settings.host, settings.peer_port, settings.limits, _authorities(settings))
        self._courier = Courier(
            settings,
            store=inbound.store,
            notifier=notifier,
            lookup=inbound.lookup,
            client=client,
            tls_with=tls_rule(settings, DIALECTS[settings.dialect].outgoing_tls),
            own=own,
            overrides=overrides,
            ledger=inbound.ledger,
        )

    def start(self) -> None:
        self._courier.start()

    async def close(self) -> None:
        await self._courier.close()

    @property
    def records(self) -> Sequence[tuple[str, str, str]]:
        """Name, type and text of what a name server has to tell others, besides where this server is."""
        return [] if self._signer is None else [(self._signer.record[0], "TXT", self._signer.record[1])]

    def is_local(self, address: str) -> bool:
        return self.inbound.is_local(address)

    async def refuse_recipient(self, address: str) -> str | None:
        """The reply to RCPT where it is no. Raises `StoreUnavailable`."""
        local_part, _, domain = self.inbound.accounts.canonical(address).rpartition("@")
        if not _LOCAL_PART.fullmatch(local_part) or not is_domain(domain):
            return f"550 5.1.3 <{address}>: that is no address that mail could be sent to"
        left = await self._store.run(lambda store: store.outgoing.recipients_left())
        return (
            "452 4.3.1 Too much mail waits for other servers, try again later"
            if left >= self._limit
            else None
        )

    async def outgoing(self, sender: str, recipients: Sequence[str], content: bytes) -> OutgoingMail | None:
        """The mail for those who live elsewhere, signed; None: there is nobody."""
        elsewhere = tuple(each for each in recipients if not self.is_local(each))
        if not elsewhere:
            return None
        return OutgoingMail(sender, elsewhere, await self._signer.sign(content) if self._signer else content)

    def wake(self) -> None:
        """There is new mail in the queue."""
        self._courier.wake()


def _authorities(settings: MailSettings) -> tuple[Path, ...]:
    return tuple(file for file in (settings.outgoing_ca,) if file is not None)
