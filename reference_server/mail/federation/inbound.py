"""Mail from other servers, at port 25 (RFC 5321): for people who live here, and for nobody else."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from reference_server.ledger import ConnectionRecord, Ledger

from ..accounts import Accounts
from ..delivery import Delivery
from ..dialects import DIALECTS
from ..fields import has_bad_bytes, strip_traces
from ..policy import PolicyRules, Refuse
from ..rates import MemoryBudget
from ..settings import DkimRule, MailSettings
from ..smtp_receiving import Receiving, ReceivingSmtp
from ..store import Account
from ..store_thread import StoreThread, StoreUnavailable
from .policy import NO_SENDER, FromOutside, OutsidePolicy, domain_of_author
from .routes import Lookup, LookupFailed
from .signatures import has_any_signature

__all__ = ["FederationConnection", "Inbound", "Intake", "SignatureCheck"]

TRY_LATER = Refuse(451, "4.3.0 The store does not answer, try again later")
RELAY_DENIED = "554 5.7.1 <{}>: Relay access denied"

SignatureCheck = Callable[[str, bytes, Lookup], Awaitable[bool]]
"""Gets a domain and a mail: true if it has a right signature of that domain. Raises `LookupFailed`."""

log = logging.getLogger(__name__)
logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd logs every command that it gets


@dataclass(frozen=True)
class Inbound:
    """State that all ways in share."""

    settings: MailSettings
    accounts: Accounts
    store: StoreThread
    delivery: Delivery
    policy: OutsidePolicy
    rules: PolicyRules
    is_signed: SignatureCheck
    lookup: Lookup
    ledger: Ledger
    memory: MemoryBudget

    @property
    def own_domain(self) -> str:
        return self.accounts.canonical(f"@{self.settings.domain}").removeprefix("@")

    def is_local(self, address: str) -> bool:
        return self.accounts.canonical(address).rpartition("@")[2] == self.own_domain

    async def has_room(self, account: Account) -> bool:
        """Raises `StoreUnavailable`."""
        used = await self.store.run(lambda store: store.used_bytes(account.id))
        return used < self.accounts.quota_of(account.address)

    async def take(self, mail: FromOutside, accounts: Sequence[Account]) -> Refuse | None:
        """Judge a mail, and put it into the inbox of each; None: it is there, and on the disk."""
        refusal = await self._judge(mail)
        if refusal is None:
            digest = hashlib.sha256(f"{mail.sender}\n".encode() + mail.content).digest()
            try:
                await self.delivery.deliver(accounts, strip_traces(mail.content), digest=digest)
            except StoreUnavailable:
                refusal = TRY_LATER
        if refusal is not None:
            self.ledger.event("message_from_outside_refused", sender=mail.sender, code=refusal.code)
            return refusal
        recipients = [account.address for account in accounts]
        self.ledger.event(
            "message_from_outside", sender=mail.sender, recipients=recipients, size=len(mail.content)
        )
        return None

    async def _judge(self, mail: FromOutside) -> Refuse | None:
        if has_bad_bytes(mail.content):
            return Refuse(550, "5.5.2 Error: bare <CR>, bare <LF> or <NUL> received")
        verdict = await asyncio.to_thread(self.policy, mail, self.rules)
        if isinstance(verdict, Refuse):
            return verdict
        domain = domain_of_author(mail.content)
        rule = self.settings.dkim or DIALECTS[self.settings.dialect].dkim
        if domain is None or rule is DkimRule.IGNORED:
            return None
        try:
            if await self.is_signed(domain, mail.content, self.lookup):
                return None
        except LookupFailed as error:
            return Refuse(451, f"4.7.5 The key of {domain} is not found: {error}")
        missing = f"valid DKIM signature found of {domain}"
        return Refuse(
            554, f"5.7.1 No {missing if has_any_signature(mail.content) else 'DKIM signature found'}"
        )


class FederationConnection(ReceivingSmtp):
    """Another server."""

    def __init__(
        self, inbound: Inbound, intake: type[Intake], receiving: Receiving, record: ConnectionRecord
    ) -> None:
        super().__init__(
            intake(inbound, record.remote.rpartition(":")[0].strip("[]")),
            receiving,
            record,
            tls=False,
            require_starttls=DIALECTS[inbound.settings.dialect].incoming_tls_is_required,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
        )


class Intake:
    """The hooks of aiosmtpd: one method per command, which returns the reply."""

    def __init__(self, inbound: Inbound, peer: str) -> None:
        self.inbound = inbound
        self.peer = peer
        self._accounts: dict[str, Account] = {}
        """Of the recipients so far, by address."""

    async def handle_EHLO(
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        offered = [each for each in responses if not each.startswith("250-AUTH")]  # nobody logs in here
        return [*offered[:-1], "250-PIPELINING", offered[-1]]

    async def handle_MAIL(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        cast(ReceivingSmtp, server).deadline.cancel()  # it is no scanner
        self._accounts = {}
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if options:
            return "555 5.5.4 There are no parameters of RCPT here"
        if len(envelope.rcpt_tos) >= self.inbound.settings.limits.recipients:
            return "452 4.5.3 Error: too many recipients"
        refusal = await self.refuse_recipient(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(self.inbound.accounts.canonical(address))
        return "250 2.1.5 Ok"

    async def refuse_recipient(self, address: str) -> str | None:
        """The reply to RCPT where it is no."""
        inbound = self.inbound
        if not inbound.is_local(address):
            return RELAY_DENIED.format(address)
        try:
            account = await inbound.accounts.find(address)
            if account is None:
                return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown on this server"
            if not await inbound.has_room(account):
                return f"552 5.2.2 <{address}>: The mailbox is full"
        except StoreUnavailable:
            return f"{TRY_LATER.code} {TRY_LATER.text}"
        self._accounts[account.address] = account
        return None

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        stated = envelope.mail_from or NO_SENDER
        sender = NO_SENDER if stated == "<>" else self.inbound.accounts.canonical(stated)
        mail = FromOutside(sender, tuple(envelope.rcpt_tos), content, self.peer, self.inbound.own_domain)
        return await self.take(mail)

    async def take(self, mail: FromOutside) -> str:
        """The reply to the mail itself."""
        accounts = [self._accounts[each] for each in mail.recipients if each in self._accounts]
        refusal = await self.inbound.take(mail, accounts)
        return "250 2.0.0 Ok: stored" if refusal is None else f"{refusal.code} {refusal.text}"

    async def handle_VRFY(self, _server: SMTP, _session: Session, _envelope: Envelope, address: str) -> str:
        return f"252 2.0.0 {address}"

    async def handle_exception(self, error: Exception) -> str:
        log.warning("SMTP command failed: %r", error, extra={"source": self.peer})
        return "451 4.3.0 Requested action aborted"
