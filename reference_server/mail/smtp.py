"""Submission over SMTP (RFC 6409): aiosmtpd speaks, this module decides.

This server sends no mail to other hosts: a recipient who has no account here is refused with 550 at RCPT. (Chatmail
accepts unknown local recipients and bounces later; the sender hears the same from us, only sooner.)
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from typing import cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from reference_server.ledger import ConnectionRecord, Ledger

from .accounts import Accounts
from .delivery import Delivery
from .fields import clean_header, has_bad_bytes
from .policy import PolicyRules, Refuse, Submission, SubmissionPolicy
from .rates import Gcra, MemoryBudget
from .settings import MailSettings
from .smtp_auth import AuthenticatingSmtp, refused
from .smtp_data import MessageData
from .store import Account
from .store_thread import StoreThread, StoreUnavailable

__all__ = ["SmtpConnection", "SmtpServices", "sending_rate"]

LONGEST_LINE = 2048
"""Bytes of a line of a message, as the postfix of chatmail takes them."""
EVERYTHING = 1 << 30
"""Bytes to ask a reader for that has fewer."""
BURST = 10
"""Messages that a sender may submit at once where there is a rate limit."""
TOO_MUCH = "4.3.1 Too much mail is coming in, try again later"
TRY_LATER = "451 4.3.0 The store does not answer, try again later"

log = logging.getLogger(__name__)
logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd logs every command that it gets


@dataclass(frozen=True)
class SmtpServices:
    """State that all SMTP connections of a server share."""

    settings: MailSettings
    tls: ssl.SSLContext
    accounts: Accounts
    store: StoreThread
    delivery: Delivery
    policy: SubmissionPolicy
    rules: PolicyRules
    ledger: Ledger
    memory: MemoryBudget
    rate: Gcra | None
    """Of messages per sender."""


def sending_rate(settings: MailSettings) -> Gcra | None:
    per_minute = settings.messages_per_minute
    return Gcra(period=60 / per_minute, burst=BURST) if per_minute > 0 else None


class SmtpConnection(AuthenticatingSmtp):
    """One client. `tls` says whether the connection is encrypted from its first byte on."""

    def __init__(self, services: SmtpServices, record: ConnectionRecord, *, tls: bool) -> None:
        limits = services.settings.limits
        super().__init__(
            _Handler(services),
            data_size_limit=limits.message,
            enable_SMTPUTF8=True,
            hostname=services.settings.domain,
            ident="ESMTP",
            tls_context=None if tls else services.tls,
            require_starttls=not tls,
            auth_require_tls=not tls,  # aiosmtpd does not see TLS that was there before it
            timeout=limits.smtp_idle,
            loop=asyncio.get_running_loop(),
        )
        self._services = services
        self._record = record
        self._over = asyncio.Event()
        self._login_failures = 0
        self._data_end: int | None = None
        """Largest number of bytes from the client at the end of the DATA that is being read."""
        self._incoming: tuple[MessageData, asyncio.Future[None]] | None = None
        """The message that is coming in, and what waits for its end."""
        self._held = 0
        """Bytes of the memory that all connections share."""
        self._login_deadline = self.loop.call_later(limits.before_login, self._hang_up)

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self._record.bytes_in += len(data)
        if self._data_end is not None and not self._may_hold(data):
            return
        if self._incoming is None:
            super().data_received(data)
            return
        message, complete = self._incoming
        self._reset_timeout()
        rest = message.feed(data)
        if rest is not None:
            self._incoming = None
            super().data_received(rest)
            complete.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._login_deadline.cancel()
        self._let_go()
        if self.transport is not None:  # aiosmtpd comes here twice when STARTTLS fails
            super().connection_lost(error)
        self._over.set()

    def _may_hold(self, data: bytes) -> bool:
        """More of the message that is coming in; otherwise the connection ends."""
        cost = len(data)
        if self._data_end is not None and self._record.bytes_in > self._data_end:
            self._hang_up()  # it is too large anyway, and nobody waits for its end for ever
            return False
        if not self._services.memory.take(cost):
            cast(asyncio.Transport, self.transport).write(f"421 {TOO_MUCH}\r\n".encode())
            self._hang_up()
            return False
        self._held += cost
        return True

    def _let_go(self) -> None:
        self._services.memory.give_back(self._held)
        self._held = 0

    async def wait_closed(self) -> None:
        await self._over.wait()

    # aiosmtpd.SMTP

    async def push(self, status: str | bytes) -> None:
        raw = status.encode(errors="backslashreplace") if isinstance(status, str) else status
        self._record.bytes_out += len(raw) + 2
        await super().push(raw)

    async def smtp_DATA(self, arg: str | None) -> None:
        """aiosmtpd would keep an object for each line, and would not let a message take longer than a command."""
        assert self.envelope is not None
        if await self.check_helo_needed():
            return
        if not self.envelope.rcpt_tos:
            await self.push("503 Error: need RCPT command")
        elif arg:
            await self.push("501 Syntax: DATA")
        else:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            message = await self._read_message()
            reply = await self._take_message(message)
            self._set_post_data_state()  # type: ignore[no-untyped-call]
            await self.push(reply)

    async def _read_message(self) -> MessageData:
        limits = self._services.settings.limits
        message = MessageData(most=limits.message, longest_line=LONGEST_LINE)
        self._data_end = self._record.bytes_in + 2 * limits.message
        deadline = self.loop.call_later(limits.transfer, self._hang_up)
        try:
            rest = message.feed(await self._reader.read(EVERYTHING))
            if rest is not None:
                self._reader.feed_data(rest)
            else:
                self._incoming = message, self.loop.create_future()
                await self._incoming[1]
        finally:
            deadline.cancel()
            self._incoming = self._data_end = None
            self._let_go()
        return message

    async def _take_message(self, message: MessageData) -> str:
        if message.too_large:
            return (
                f"552 5.3.4 Error: the message has more than {self._services.settings.limits.message} bytes"
            )
        if message.too_long:
            return f"500 5.5.2 Error: a line is too long, it has more than {LONGEST_LINE} bytes"
        assert self.envelope is not None
        self.envelope.original_content = message.take()
        reply: str = await self._call_handler_hook("DATA")
        return reply

    # Log-in

    def is_same_user(self, one: str, other: str) -> bool:
        canonical = self._services.accounts.canonical
        return canonical(one) == canonical(other)

    async def log_in(self, user: str, password: str) -> AuthResult:
        try:
            account = await self._services.accounts.log_in(
                user, password, protocol="smtp", source=self._record.remote.rpartition(":")[0]
            )
        except StoreUnavailable:
            return refused("454 4.7.0 Temporary failure")
        if account is None:
            return await self.refuse_log_in()
        self._login_deadline.cancel()
        self._record.identity = account.address
        return AuthResult(success=True, auth_data=_User(account.address))

    async def refuse_log_in(self) -> AuthResult:
        """With no end but the deadline of the log-in, since clients try one mechanism after the other.

        The sleep is what makes guessing slow: each refusal comes later than the one before.
        """
        limits = self._services.settings.limits
        self._login_failures += 1
        await asyncio.sleep(limits.login_failure_delay * max(0, self._login_failures - limits.login_failures))
        return refused("535 5.7.8 Error: authentication failed")

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.close()


@dataclass(frozen=True)
class _User:
    login: str


class _Handler:
    """The hooks of aiosmtpd: one method per command, which returns the reply."""

    def __init__(self, services: SmtpServices) -> None:
        self._services = services
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
        try:
            account = await self._services.accounts.find(address)
            if account is None:
                return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown on this server"
            if await self._used_bytes(account) >= self._services.settings.limits.quota:
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
        try:
            accounts = [await services.accounts.find(recipient) for recipient in submission.recipients]
            known = [account for account in accounts if account is not None]
            await services.delivery.deliver(known, clean_header(submission.content))
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
        log.warning("SMTP command failed: %r", error)
        return "451 4.3.0 Requested action aborted"
