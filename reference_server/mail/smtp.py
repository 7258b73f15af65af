"""Submission over SMTP (RFC 6409): aiosmtpd speaks, this module decides.

A recipient of this server who has no account here is refused with 550 at RCPT. (Chatmail accepts unknown local
recipients and bounces later; the sender hears the same from us, only sooner.) So is one of another server, unless this
one is in a federation.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from reference_server.ledger import ConnectionRecord, Ledger

from .accounts import Accounts
from .delivery import Delivery
from .federation.federation import Federation
from .fields import clean_header, has_bad_bytes
from .policy import PolicyRules, Refuse, Submission, SubmissionPolicy
from .rates import Gcra
from .settings import MailSettings
from .smtp_auth import AuthenticatingSmtp, refused
from .smtp_receiving import Receiving, ReceivingSmtp
from .store import Account
from .store_thread import StoreThread, StoreUnavailable

__all__ = ["SmtpConnection", "SmtpServices", "sending_rate"]

BURST = 10
"""Messages that a sender may submit at once where there is a rate limit."""
TRY_LATER = "451 4.3.0 The store does not answer, try again later"

log = logging.getLogger(__name__)
logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd logs every command that it gets


@dataclass(frozen=True)
class SmtpServices:
    """State that all SMTP connections of a server share."""

    settings: MailSettings
    receiving: Receiving
    accounts: Accounts
    store: StoreThread
    delivery: Delivery
    policy: SubmissionPolicy
    rules: PolicyRules
    ledger: Ledger
    rate: Gcra | None
    """Of messages per sender."""
    federation: Federation | None = None
    """Takes mail to other servers; None: there are none."""


def sending_rate(settings: MailSettings) -> Gcra | None:
    per_minute = settings.messages_per_minute
    return Gcra(period=60 / per_minute, burst=BURST) if per_minute > 0 else None


class SmtpConnection(ReceivingSmtp, AuthenticatingSmtp):
    """One client. `tls` says whether the connection is encrypted from its first byte on."""

    def __init__(self, services: SmtpServices, record: ConnectionRecord, *, tls: bool) -> None:
        super().__init__(
            _Handler(services, record.remote.rpartition(":")[0]),
            services.receiving,
            record,
            tls=tls,
            require_starttls=not tls,
            auth_require_tls=not tls,  # aiosmtpd does not see TLS that was there before it
        )
        self._services = services
        self._login_failures = 0

    # Log-in

    def is_same_user(self, one: str, other: str) -> bool:
        canonical = self._services.accounts.canonical
        return canonical(one) == canonical(other)

    async def log_in(self, user: str, password: str) -> AuthResult:
        try:
            account = await self._services.accounts.log_in(
                user, password, protocol="smtp", source=self.record.remote.rpartition(":")[0]
            )
        except StoreUnavailable:
            return refused("454 4.7.0 Temporary failure")
        if account is None:
            return await self.refuse_log_in()
        self.deadline.cancel()
        self.record.identity = account.address
        return AuthResult(success=True, auth_data=_User(account.address))

    async def refuse_log_in(self) -> AuthResult:
        """With no end but the deadline of the log-in, since clients try one mechanism after the other.

        The sleep is what makes guessing slow: each refusal comes later than the one before.
        """
        limits = self._services.settings.limits
        self._login_failures += 1
        await asyncio.sleep(limits.login_failure_delay * max(0, self._login_failures - limits.login_failures))
        return refused("535 5.7.8 Error: authentication failed")


@dataclass(frozen=True)
class _User:
    login: str


class _Handler:
    """The hooks of aiosmtpd: one method per command, which returns the reply."""

    def __init__(self, services: SmtpServices, source: str) -> None:
        self._services = services
        self._source = source
        self._too_fast = False

    async def handle_MAIL(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not session.authenticated:
            return "530 5.7.0 Authentication required"
        rate, now = self._services.rate, asyncio.get_running_loop().time()
        self._too_fast = rate is not None and not rate.take(session.login_data, now)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if options:  # AUTH, which is one of MAIL
            return "555 5.5.4 There are no parameters of RCPT here"
        refusal = self._refuse_sender(session, envelope) or await self._refuse_recipient(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(self._services.accounts.canonical(address))
        return "250 2.1.5 Ok"

    def _refuse_sender(self, session: Session, envelope: Envelope) -> str | None:
        user = session.login_data
        if self._services.accounts.canonical(str(envelope.mail_from)) != user:
            return f"553 5.7.1 <{envelope.mail_from}>: Sender address rejected: not owned by user {user}"
        if self._too_fast:  # said here, as the postfix of chatmail does
            return f"450 4.7.1: Too much mail from <{user}>, try again later"
        if len(envelope.rcpt_tos) >= self._services.settings.limits.recipients:
            return "452 4.5.3 Error: too many recipients"
        return None

    async def _refuse_recipient(self, address: str) -> str | None:
        federation = self._services.federation
        try:
            if federation is not None and not federation.is_local(address):
                return await federation.refuse_recipient(address)
            account = await self._services.accounts.find(address)
            if account is None:
                return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown on this server"
            if await self._used_bytes(account) >= self._services.accounts.quota_of(account.address):
                return f"552 5.2.2 <{address}>: The mailbox is full"
        except StoreUnavailable:
            return TRY_LATER
        return None

    async def _used_bytes(self, account: Account) -> int:
        return await self._services.store.run(lambda store: store.used_bytes(account.id))

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        services, sender = self._services, session.login_data
        submission = Submission(sender, tuple(envelope.rcpt_tos), envelope.original_content or b"")
        if has_bad_bytes(submission.content):
            services.ledger.event("message_refused", sender=sender, code=550)
            return "550 5.5.2 Error: bare <CR>, bare <LF> or <NUL> received"
        verdict = await asyncio.to_thread(services.policy, submission, services.rules)
        if isinstance(verdict, Refuse):
            services.ledger.event("message_refused", sender=sender, code=verdict.code)
            return f"{verdict.code} {verdict.text}"
        content, federation = clean_header(submission.content), services.federation
        try:
            accounts = [await services.accounts.find(recipient) for recipient in submission.recipients]
            known = [account for account in accounts if account is not None]
            outgoing = (
                await federation.outgoing(sender, submission.recipients, content) if federation else None
            )
            await services.delivery.deliver(known, content, outgoing=outgoing)
            if federation is not None and outgoing is not None:
                federation.wake()
        except StoreUnavailable:
            services.ledger.event("message_refused", sender=sender, code=451)
            return TRY_LATER
        services.ledger.event(
            "message_accepted",
            sender=sender,
            recipients=list(submission.recipients),
            size=len(submission.content),
        )
        return "250 2.0.0 Ok: stored"

    async def handle_VRFY(self, _server: SMTP, _session: Session, _envelope: Envelope, address: str) -> str:
        return f"252 2.0.0 {address}"

    async def handle_exception(self, error: Exception) -> str:
        log.warning("SMTP command failed: %r", error, extra={"source": self._source})
        return "451 4.3.0 Requested action aborted"
