"""The mail service: five listeners around one store."""

from __future__ import annotations

import logging
import sqlite3
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from reference_server.certificate_pair import server_tls
from reference_server.errors import ConfigurationError
from reference_server.ledger import ConnectionRecord, Ledger
from reference_server.turn_secret import read_secrets

from .accounts import Accounts
from .admin import AdminApi, Administered, read_token
from .alpn import HTTP, AlpnConnection
from .delivery import Delivery, Notifier
from .dialects import DIALECTS
from .dovecot import DictServer, LmtpDelivery
from .federation.federation import Federation
from .federation.inbound import FederationConnection, Inbound
from .federation.overrides import Overrides
from .federation.resolver import Dns
from .imap.connection import ImapConnection, ImapServices
from .imap.context import Profile
from .imap.metadata import server_metadata
from .listener import Connection
from .listeners import Listeners
from .memory import return_large_blocks
from .offers import Offers
from .policy import PolicyRules
from .rates import MemoryBudget
from .settings import MailSettings
from .smtp import SmtpServices, sending_rate
from .smtp_receiving import Receiving
from .store_thread import StoreThread
from .strategies import Strategies
from .web import WebConnection, WebServices

__all__ = ["MailService"]

log = logging.getLogger(__name__)


class MailService:
    """Implements `reference_server.service.Service`."""

    def __init__(
        self, settings: MailSettings, *, strategies: Strategies | None = None, ledger: Ledger | None = None
    ) -> None:
        self.settings = settings
        self.ledger = ledger or Ledger("mail", enabled=settings.ledger)
        self._strategies = strategies or Strategies()
        self._listeners: Listeners | None = None
        self._store: StoreThread | None = None
        self._accounts: Accounts | None = None
        self._delivery: Delivery | None = None
        self._dict: DictServer | None = None
        self._federation: Federation | None = None
        self._offers = Offers()

    async def start(self) -> Mapping[str, Any]:
        """Open the store and every listener. Raises `ConfigurationError`, or `OSError` that names the port."""
        return_large_blocks()
        self.settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings = self.settings = _with_certificate(self.settings)
        turn_secret = read_secrets(settings.turn_secret_file)[0] if settings.turn_secret_file else None
        tls = _tls_context(settings)
        self._store = store = self._open_store()
        self._accounts = accounts = Accounts(
            settings, store, self.ledger, self._strategies.verify_password, self._strategies.may_create
        )
        notifier = self._strategies.make_notifier()
        self._delivery = delivery = self._make_delivery(store, notifier)
        memory = MemoryBudget(settings.limits.messages_in_memory)
        imap = ImapServices(
            settings,
            tls,
            accounts,
            store,
            notifier,
            self.ledger,
            self._profile(),
            memory,
            turn_secret,
            self._offers,
        )
        rules = PolicyRules(settings.dialect, settings.passthrough_senders, settings.passthrough_recipients)
        receiving = Receiving(settings.domain, tls, settings.limits, memory)
        overrides = Overrides()
        if settings.federation:
            inbound = self._inbound(accounts, store, delivery, rules, memory)
            self._federation = Federation(inbound, notifier, overrides)
        federation = self._federation
        smtp = SmtpServices(
            settings=settings,
            receiving=receiving,
            accounts=accounts,
            store=store,
            delivery=delivery,
            policy=self._strategies.submission_policy,
            rules=rules,
            ledger=self.ledger,
            rate=sending_rate(settings),
            federation=federation,
        )
        listeners = self._listeners = Listeners(settings.host, settings.limits, self.ledger)
        admin = self._make_admin(Administered(accounts, store, notifier, self._offers, overrides, listeners))
        posted = federation is not None and DIALECTS[settings.dialect].has_mxdeliv
        web = WebServices(
            settings,
            accounts,
            memory,
            listeners.ports,
            federation.inbound if federation and posted else None,
            admin,
        )
        own_imap, submission = settings.dovecot is None, self._strategies.submission

        def by_alpn(record: ConnectionRecord) -> Connection:
            choices: dict[str, Callable[[], Connection]] = {
                "smtp": lambda: submission(smtp, record, tls=True),
                HTTP: lambda: WebConnection(web, record),
            }
            if own_imap:
                choices["imap"] = lambda: ImapConnection(imap, record, tls=True)
            return AlpnConnection(choices)

        if own_imap:
            listeners.open("imaps", settings.imaps_port, lambda r: ImapConnection(imap, r, tls=True), tls)
            listeners.open("imap", settings.imap_port, lambda r: ImapConnection(imap, r, tls=False))
        else:
            listeners.ports.update(imaps=settings.imaps_port, imap=settings.imap_port)
            await self._serve_dovecot(accounts, turn_secret)
        listeners.open("submissions", settings.submissions_port, lambda r: submission(smtp, r, tls=True), tls)
        listeners.open("submission", settings.submission_port, lambda r: submission(smtp, r, tls=False))
        names = (HTTP, *(["imap"] if own_imap else []), "smtp")
        listeners.open("https", settings.https_port, by_alpn, _tls_context(settings, alpn=names))
        if federation is not None:
            intake, into = self._strategies.intake, federation.inbound
            listeners.open(
                "smtp", settings.smtp_port, lambda r: FederationConnection(into, intake, receiving, r)
            )
            federation.start()
        endpoints = self._endpoints(listeners.ports)
        log.info("a test server: it creates accounts for everybody; listening on %s", endpoints)
        return endpoints

    async def close(self) -> None:
        """Cut the connections, then finish what is on its way to the disk."""
        if self._listeners is not None:
            await self._listeners.close()
        if self._dict is not None:
            await self._dict.close()
        if self._federation is not None:
            await self._federation.close()
        if self._delivery is not None:
            await self._delivery.close()
        if self._accounts is not None:
            self._accounts.close()
        if self._store is not None:
            self._store.close()

    def _endpoints(self, ports: Mapping[str, int]) -> dict[str, Any]:
        settings = self.settings
        endpoints: dict[str, Any] = {
            "host": settings.host,
            "domain": settings.domain,
            "dialect": str(settings.dialect),
            **ports,
        }
        if settings.tls_ca is not None:
            endpoints["ca_file"] = str(settings.tls_ca)
        if self._federation is not None:
            endpoints["dns"] = [list(record) for record in self._federation.records]
        return endpoints

    def _inbound(
        self,
        accounts: Accounts,
        store: StoreThread,
        delivery: Delivery,
        rules: PolicyRules,
        memory: MemoryBudget,
    ) -> Inbound:
        return Inbound(
            settings=self.settings,
            accounts=accounts,
            store=store,
            delivery=delivery,
            policy=self._strategies.outside_policy,
            rules=rules,
            is_signed=self._strategies.is_signed,
            lookup=Dns(self.settings.name_server),
            ledger=self.ledger,
            memory=memory,
        )

    def _open_store(self) -> StoreThread:
        database = self.settings.database
        try:
            return StoreThread(database, self._strategies.make_store)
        except sqlite3.Error as error:
            raise ConfigurationError(f"cannot keep mail in {database}: {error}") from error

    def _make_admin(self, administered: Administered) -> AdminApi | None:
        if self.settings.admin_token_file is None:
            return None
        return self._strategies.make_admin(read_token(self.settings.admin_token_file), administered)

    def _make_delivery(self, store: StoreThread, notifier: Notifier) -> Delivery:
        if self.settings.dovecot is not None:
            return LmtpDelivery(self.settings.dovecot, self.settings.domain)
        return self._strategies.make_delivery(store, notifier)

    async def _serve_dovecot(self, accounts: Accounts, turn_secret: str | None) -> None:
        assert self.settings.dovecot is not None
        self._dict = DictServer(
            accounts,
            lambda key: server_metadata(self._offers.within(self.settings), turn_secret, [key]).get(key),
        )
        await self._dict.start(self.settings.dovecot)

    def _profile(self) -> Profile:
        settings, strategies = self.settings, self._strategies
        return Profile(
            dialect=settings.dialect,
            limits=settings.limits,
            compress=settings.compress,
            allowed=strategies.allowed_commands,
            capabilities=strategies.capabilities,
        )


def _with_certificate(settings: MailSettings) -> MailSettings:
    """The settings with the certificate that they name, or else with one of our own."""
    if settings.tls_cert is not None:
        return settings
    from reference_server.tls import issue_development_certificate  # noqa: PLC0415 - cryptography is slow to load

    issued = issue_development_certificate(settings.state / "tls", [settings.host, settings.domain])
    return replace(settings, tls_cert=issued.certificate_file, tls_key=issued.key_file, tls_ca=issued.ca_file)


def _tls_context(settings: MailSettings, *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    assert settings.tls_cert is not None and settings.tls_key is not None
    context = server_tls(settings.tls_cert, settings.tls_key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context
