"""Mail services that are wrong in one way. METADATA is told by mail, so what it says wrongly stands here, too."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reference_server.mail.delivery import DurableDelivery, Notifier
from reference_server.mail.dialects import Habits
from reference_server.mail.imap.capabilities import capabilities
from reference_server.mail.imap.states import ALLOWED_COMMANDS, State
from reference_server.mail.mailbox import INBOX, Mailbox, Refused
from reference_server.mail.policy import Accept, PolicyRules, Submission, Verdict
from reference_server.mail.service import MailService
from reference_server.mail.settings import MailSettings
from reference_server.mail.store import Account, Store
from reference_server.mail.store_thread import StoreThread
from reference_server.mail.strategies import Strategies

from .declaration import mutant
from .wire import tls_as_somebody_else

DISCARD_PORT = 9
NOBODY = "203.0.113.7"
"""RFC 5737: nobody lives there."""
WAKES_AFTER = 30.0
LATE = 0.2
"""Seconds between the answer and the disk."""
QUOTA = 5
"""Messages of a mailbox: two make friends, and two calls later there is room for a ring, not for its end."""

RIGHT = Strategies()


def _relay_url(settings: MailSettings) -> str:
    assert settings.iroh_relay_url is not None
    return settings.iroh_relay_url


def _turn_address(settings: MailSettings) -> str:
    assert settings.turn_address is not None
    return settings.turn_address


# What METADATA says of the iroh relay


@mutant(
    "mail",
    "METADATA has no iroh relay, so clients use public ones",
    kills={"discovery.metadata_offers_a_relay": "METADATA has no value for"},
)
def irohrelay_missing(settings: MailSettings) -> MailService:
    return MailService(replace(settings, iroh_relay_url=None))


@mutant(
    "mail",
    "METADATA names a port where nothing listens",
    kills={
        "relay.relay_is_reachable": "nothing answers at the relay URL",
        "relay.relay_answers_http": "nothing answers at the relay URL",
        "relay.relay_forwards_each_frame_once": "nothing answers at the relay URL",
    },
)
def irohrelay_dead_port(settings: MailSettings) -> MailService:
    dead = f"{_relay_url(settings).rpartition(':')[0]}:{DISCARD_PORT}"
    return MailService(replace(settings, iroh_relay_url=dead))


@mutant(
    "mail",
    "METADATA names the relay of somebody else",
    kills={
        "discovery.metadata_offers_a_relay": "offers the relay of somebody else",
        "realtime.two_devices_exchange_messages": "offers the relay of somebody else",
        "realtime_paths.data_takes_the_way_that_networks_allow": "offers the relay of somebody else",
        "swarms.every_device_receives_every_message": "offers the relay of somebody else",
    },
)
def irohrelay_foreign(settings: MailSettings) -> MailService:
    return MailService(replace(settings, iroh_relay_url=f"http://{NOBODY}:3340"))


@mutant(
    "mail",
    "METADATA has a value that is no URL",
    kills={"discovery.metadata_offers_a_relay": "offers an unusable relay"},
)
def irohrelay_unusable(settings: MailSettings) -> MailService:
    return MailService(replace(settings, iroh_relay_url=_relay_url(settings).removeprefix("http://")))


@mutant(
    "mail",
    "METADATA names an https relay whose certificate is somebody else's",
    kills={
        "relay.relay_is_reachable": "its certificate is not trusted",
        "relay.relay_answers_http": "its certificate is not trusted",
    },
)
def relay_https_bad_certificate(settings: MailSettings) -> MailService:
    port = tls_as_somebody_else(settings.host)
    return MailService(replace(settings, iroh_relay_url=f"https://{settings.host}:{port}"))


# What METADATA says of TURN


@mutant(
    "mail",
    "METADATA has no TURN server, so clients use public ones",
    kills={
        "turn.turn_is_offered": "METADATA has no value for /shared/vendor/deltachat/turn",
        "transports.first_server_without_a_relay_leads_to_strangers": "METADATA has no value for",
    },
)
def turn_key_missing(settings: MailSettings) -> MailService:
    return MailService(replace(settings, turn_address=None))


@mutant(
    "mail",
    "METADATA names the TURN server of somebody else",
    kills={
        "turn.turn_is_offered": "offers the TURN server of somebody else",
        "calls.core_lists_the_offered_servers": "offers the TURN server of somebody else",
    },
)
def turn_foreign(settings: MailSettings) -> MailService:
    return MailService(replace(settings, turn_address=f"{NOBODY}:3478"))


@mutant(
    "mail",
    "the expiry of the TURN credentials is in milliseconds",
    kills={"turn.turn_is_offered": "must be an expiry in unix seconds"},
)
def turn_milliseconds(settings: MailSettings) -> MailService:
    """A thousand times the expiry, as the sum that the service computes from the time of each request."""
    now = int(time.time())
    return MailService(replace(settings, turn_ttl=1000 * (now + settings.turn_ttl) - now))


@mutant(
    "mail",
    "METADATA names a TURN port where nothing listens",
    kills={
        "turn.turn_grants_an_allocation": "nothing listens on turn:",
        "turn.turn_allocates_with_offered_credentials": "nothing listens on turn:",
    },
)
def turn_advertised_port_closed(settings: MailSettings) -> MailService:
    closed = f"{_turn_address(settings).rpartition(':')[0]}:{DISCARD_PORT}"
    return MailService(replace(settings, turn_address=closed))


@mutant(
    "mail",
    "mail and TURN do not share a secret",
    kills={
        "turn.turn_grants_an_allocation": "refuses Allocate with 401",
        "turn.turn_allocates_with_offered_credentials": "refuses Allocate with 401",
        "calls_changes.dead_calls_are_noticed_and_the_next_one_works": "no relay candidate from turn:",
        "calls_paths.calls_take_the_expected_path": "the call should be relayed",
        "transports.calls_use_turn_of_either_server": "no relay candidate from turn:",
    },
)
def turn_other_secret(settings: MailSettings) -> MailService:
    other = settings.state / "another-turn-secret"
    settings.state.mkdir(parents=True, exist_ok=True)
    other.write_text("a secret that TURN does not know\n")
    return MailService(replace(settings, turn_secret_file=other))


@mutant(
    "mail",
    "METADATA turns names a port where TURN answers without TLS",
    kills={"turn.turns_is_offered": "does not speak TLS that we can verify"},
)
def turns_without_tls(settings: MailSettings) -> MailService:
    return MailService(replace(settings, turns_address=_turn_address(settings)))


# What mail itself does


@mutant(
    "mail",
    "the certificate is for another host name",
    kills={"tls.certificates_are_trusted": "is not trusted"},
)
def certificate_of_another_name(settings: MailSettings) -> MailService:
    from reference_server.tls import issue_development_certificate  # noqa: PLC0415 - cryptography is slow to load

    issued = issue_development_certificate(settings.state / "another-name", ["mail.example.org"])
    return MailService(
        replace(settings, tls_cert=issued.certificate_file, tls_key=issued.key_file, tls_ca=issued.ca_file)
    )


@mutant(
    "mail",
    "METADATA is told to everybody who connects",
    kills={"discovery.metadata_needs_login": "GETMETADATA before login"},
)
def getmetadata_answered_before_login(settings: MailSettings) -> MailService:
    before_login = ALLOWED_COMMANDS[State.NOT_AUTHENTICATED] | {"GETMETADATA"}
    allowed = {**ALLOWED_COMMANDS, State.NOT_AUTHENTICATED: before_login}
    return MailService(settings, strategies=replace(RIGHT, allowed_commands=allowed))


@mutant(
    "mail",
    "METADATA is served but not advertised, so clients do not ask",
    kills={"discovery.metadata_offers_a_relay": "does not advertise the IMAP capability METADATA"},
)
def metadata_capability_missing(settings: MailSettings) -> MailService:
    def without_metadata(state: State, habits: Habits, compress: bool) -> tuple[str, ...]:
        return tuple(word for word in capabilities(state, habits, compress) if word != "METADATA")

    return MailService(settings, strategies=replace(RIGHT, capabilities=without_metadata))


@mutant(
    "mail",
    "METADATA-SERVER is advertised and METADATA is not, so clients do not ask",
    kills={
        "discovery.metadata_offers_a_relay": "does not advertise the IMAP capability METADATA",
        "turn.turn_is_offered": "does not advertise the IMAP capability METADATA",
    },
)
def metadata_of_the_server_only(settings: MailSettings) -> MailService:
    def of_the_server(state: State, habits: Habits, compress: bool) -> tuple[str, ...]:
        words = capabilities(state, habits, compress)
        return tuple("METADATA-SERVER" if word == "METADATA" else word for word in words)

    return MailService(settings, strategies=replace(RIGHT, capabilities=of_the_server))


class SilentNotifier(Notifier):
    def publish(self, mailboxes: Iterable[int]) -> None:
        """Tell nobody."""


@mutant(
    "mail",
    "a client in IDLE does not hear of new mail",
    kills={"mail.idle_reports_new_mail": "EXISTS during IDLE"},
)
def idle_never_wakes(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_notifier=SilentNotifier))


class LateNotifier(Notifier):
    def publish(self, mailboxes: Iterable[int]) -> None:
        asyncio.get_running_loop().call_later(WAKES_AFTER, super().publish, list(mailboxes))


@mutant(
    "mail",
    "a client in IDLE hears of new mail half a minute later",
    kills={"mail.idle_reports_new_mail": "EXISTS during IDLE"},
)
def idle_reports_late(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_notifier=LateNotifier))


class ForgetfulStore(Store):
    """Every start gives every mailbox a new UIDVALIDITY, as one that is kept in memory would have."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute("UPDATE mailboxes SET uid_validity = uid_validity + 1")


@mutant(
    "mail",
    "each restart makes clients forget what they have fetched",
    kills={"mail.uids_never_go_back": "UIDVALIDITY changed"},
)
def uidvalidity_changes_at_restart(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_store=ForgetfulStore))


class GuessingStore(Store):
    """UIDNEXT is one more than the newest message that is left, as a server says that keeps no number of its own."""

    def open_mailbox(self, mailbox: int, *, claim: bool = False) -> Mailbox:
        found = super().open_mailbox(mailbox, claim=claim)
        return replace(found, uid_next=max((each.uid for each in found.messages), default=0) + 1)


@mutant(
    "mail",
    "UIDNEXT falls when the newest mail is deleted, and clients ask again for what they have",
    kills={"mail.uids_never_go_back": "when the newest mail was deleted"},
)
def uidnext_falls_when_the_newest_goes(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_store=GuessingStore))


class OpenStore(Store):
    """`user/ADDRESS` is the inbox of that user, for everybody."""

    def find_mailbox(self, account: int, name: str) -> int:
        try:
            return super().find_mailbox(account, name)
        except Refused:
            other = self.account(name.removeprefix("user/"))
            if other is None:
                raise
            return super().find_mailbox(other.id, INBOX)


@mutant(
    "mail",
    "the inbox of every user opens under a name of its own",
    kills={"mail.mailboxes_are_private": "another user found private"},
)
def mailbox_of_another_readable(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_store=OpenStore))


class HastyDelivery(DurableDelivery):
    """Answers first and stores a moment later: what is killed in between is lost."""

    async def deliver(self, accounts: Sequence[Account], content: bytes, **more: Any) -> None:
        write = super().deliver(accounts, content, **more)
        asyncio.get_running_loop().call_later(LATE, lambda: asyncio.ensure_future(write))


@mutant(
    "mail",
    "a mail is answered with 250 before it is on the disk",
    kills={
        "durability.accepted_mail_survives_a_kill": "answered with 250 are lost",
        "federation.mail_survives_a_kill_and_a_server_that_is_down": "answered with 250 are lost",
    },
)
def mail_lost_after_250(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_delivery=HastyDelivery))


class SilentQuota(DurableDelivery):
    """A message that a mailbox has no room for is accepted all the same, and nobody hears of it again."""

    def __init__(self, store: StoreThread, notifier: Notifier) -> None:
        super().__init__(store, notifier)
        self._delivered: Counter[int] = Counter()

    async def deliver(self, accounts: Sequence[Account], content: bytes, **more: Any) -> None:
        self._delivered.update(account.id for account in accounts)
        if room := [account for account in accounts if self._delivered[account.id] <= QUOTA]:
            await super().deliver(room, content, **more)


@mutant(
    "mail",
    "a mailbox takes five messages, the others are accepted and lost",
    kills={"calls.calls_ring_and_end": "the call to end at"},
)
def mail_over_quota_lost(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_delivery=SilentQuota))


@mutant(
    "mail",
    "mail that everybody can read is delivered",
    kills={"mail.unencrypted_mail_is_refused": "unencrypted mail"},
)
def unencrypted_mail_accepted(settings: MailSettings) -> MailService:
    def accept_everything(_submission: Submission, _rules: PolicyRules) -> Verdict:
        return Accept()

    return MailService(settings, strategies=replace(RIGHT, submission_policy=accept_everything))


@mutant(
    "mail",
    "the password of an account is not checked after its first log-in",
    kills={"mail.mailboxes_are_private": "accepted another password"},
)
def any_password_accepted(settings: MailSettings) -> MailService:
    return MailService(
        settings, strategies=replace(RIGHT, verify_password=lambda _password_hash, _password: True)
    )
