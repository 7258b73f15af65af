"""Mail services that are wrong in one way. Each function runs one until a signal."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from reference_server.mail.__main__ import main
from reference_server.mail.delivery import DurableDelivery, Notifier
from reference_server.mail.dialects import Habits
from reference_server.mail.imap.capabilities import capabilities
from reference_server.mail.imap.states import ALLOWED_COMMANDS, State
from reference_server.mail.mailbox import INBOX, Refused
from reference_server.mail.policy import Accept, PolicyRules, Submission, Verdict
from reference_server.mail.store import Store
from reference_server.mail.store_thread import StoreThread
from reference_server.mail.strategies import Strategies
from reference_server.tls import issue_development_certificate

from .wire import tls_as_somebody_else

__all__ = [
    "accepting_any_password",
    "accepting_readable_mail",
    "answering_before_storing",
    "answering_metadata_to_strangers",
    "changing_uid_validity",
    "hiding_metadata",
    "listening_on_ipv4_only",
    "losing_mail_over_quota",
    "never_waking_idle",
    "opening_mailboxes_of_others",
    "waking_idle_late",
    "with_another_turn_secret",
    "with_certificate_of_another_name",
    "with_closed_turn_port",
    "with_dead_relay_url",
    "with_foreign_relay_url",
    "with_foreign_turn_server",
    "with_relay_behind_bad_certificate",
    "with_turn_at_localhost",
    "with_turn_expiry_in_milliseconds",
    "with_turns_at_a_port_without_tls",
    "with_unusable_relay_url",
    "without_relay_url",
    "without_turn_line",
]

RELAY_URL = "--iroh-relay-url"
TURN_ADDRESS, TURN_SECRET, TURN_TTL = "--turn-address", "--turn-secret-file", "--turn-ttl"
TURNS_ADDRESS = "--turns-address"
DISCARD_PORT = 9
WAKES_AFTER = 30.0
LATE = 0.2
"""Seconds between the answer and the disk."""
QUOTA = 5
"""Messages of a mailbox: two make friends, and two calls later there is room for a ring, not for its end."""

RIGHT = Strategies()


def _without(arguments: Sequence[str], option: str) -> list[str]:
    position = arguments.index(option)
    return [*arguments[:position], *arguments[position + 2 :]]


def _with(arguments: Sequence[str], option: str, change: Callable[[str], str]) -> int:
    position = arguments.index(option) + 1
    return main([*arguments[:position], change(arguments[position]), *arguments[position + 1 :]])


def without_relay_url(arguments: Sequence[str]) -> int:
    return main(_without(arguments, RELAY_URL))


def without_turn_line(arguments: Sequence[str]) -> int:
    return main(_without(arguments, TURN_ADDRESS))


def with_closed_turn_port(arguments: Sequence[str]) -> int:
    return _with(arguments, TURN_ADDRESS, lambda address: f"{address.rpartition(':')[0]}:{DISCARD_PORT}")


def with_foreign_turn_server(arguments: Sequence[str]) -> int:
    return _with(arguments, TURN_ADDRESS, lambda _address: "203.0.113.7:3478")  # RFC 5737: nobody lives there


def listening_on_ipv4_only(arguments: Sequence[str]) -> int:
    return _with(arguments, "--host", lambda host: "0.0.0.0" if host == "::" else host)  # noqa: S104 - in a lab


def with_turn_at_localhost(arguments: Sequence[str]) -> int:
    return _with(arguments, TURN_ADDRESS, lambda address: f"localhost:{address.rpartition(':')[2]}")


def with_turn_expiry_in_milliseconds(arguments: Sequence[str]) -> int:
    """A thousand times the expiry, as the sum that the service computes from the time of each request."""
    now = int(time.time())
    return _with(arguments, TURN_TTL, lambda ttl: str(1000 * (now + int(ttl)) - now))


def with_another_turn_secret(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "secret")
        file.write_text("a secret that TURN does not know\n")
        return _with(arguments, TURN_SECRET, lambda _file: str(file))


def with_dead_relay_url(arguments: Sequence[str]) -> int:
    return _with(arguments, RELAY_URL, lambda url: f"{url.rpartition(':')[0]}:{DISCARD_PORT}")


def with_foreign_relay_url(arguments: Sequence[str]) -> int:
    return _with(arguments, RELAY_URL, lambda _url: "http://203.0.113.7:3340")  # RFC 5737: nobody lives there


def with_unusable_relay_url(arguments: Sequence[str]) -> int:
    return _with(arguments, RELAY_URL, lambda url: url.removeprefix("http://"))


def with_turns_at_a_port_without_tls(arguments: Sequence[str]) -> int:
    plain = arguments[arguments.index(TURN_ADDRESS) + 1]
    return main([*arguments, TURNS_ADDRESS, plain])  # the last word counts


def with_certificate_of_another_name(arguments: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory() as directory:
        issued = issue_development_certificate(Path(directory), ["mail.example.org"])
        files = (issued.certificate_file, issued.key_file, issued.ca_file)
        words = zip(("--tls-cert", "--tls-key", "--tls-ca"), map(str, files), strict=True)
        return main([*arguments, *(word for pair in words for word in pair)])  # the last word counts


def with_relay_behind_bad_certificate(arguments: Sequence[str]) -> int:
    host = arguments[arguments.index("--host") + 1]
    with tls_as_somebody_else(host) as port:
        return _with(arguments, RELAY_URL, lambda _url: f"https://{host}:{port}")


def answering_metadata_to_strangers(arguments: Sequence[str]) -> int:
    before_login = ALLOWED_COMMANDS[State.NOT_AUTHENTICATED] | {"GETMETADATA"}
    allowed = {**ALLOWED_COMMANDS, State.NOT_AUTHENTICATED: before_login}
    return main(arguments, replace(RIGHT, allowed_commands=allowed))


class SilentNotifier(Notifier):
    def publish(self, mailboxes: Iterable[int]) -> None:
        """Tell nobody."""


def never_waking_idle(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, make_notifier=SilentNotifier))


class LateNotifier(Notifier):
    def publish(self, mailboxes: Iterable[int]) -> None:
        asyncio.get_running_loop().call_later(WAKES_AFTER, super().publish, list(mailboxes))


def waking_idle_late(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, make_notifier=LateNotifier))


def without_metadata(state: State, habits: Habits, compress: bool) -> tuple[str, ...]:
    return tuple(word for word in capabilities(state, habits, compress) if word != "METADATA")


def hiding_metadata(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, capabilities=without_metadata))


class ForgetfulStore(Store):
    """Every start gives every mailbox a new UIDVALIDITY, as one that is kept in memory would have."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute("UPDATE mailboxes SET uid_validity = uid_validity + 1")


def changing_uid_validity(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, make_store=ForgetfulStore))


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


def opening_mailboxes_of_others(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, make_store=OpenStore))


class HastyDelivery(DurableDelivery):
    """Answers first and stores a moment later: what is killed in between is lost."""

    async def deliver(self, mailboxes: Sequence[int], content: bytes) -> None:
        asyncio.get_running_loop().call_later(
            LATE, lambda: asyncio.ensure_future(super(HastyDelivery, self).deliver(mailboxes, content))
        )


def answering_before_storing(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, make_delivery=HastyDelivery))


class SilentQuota(DurableDelivery):
    """What a mailbox has no room for is accepted all the same, and nobody hears of it again."""

    def __init__(self, store: StoreThread, notifier: Notifier) -> None:
        super().__init__(store, notifier)
        self._delivered: Counter[int] = Counter()

    async def deliver(self, mailboxes: Sequence[int], content: bytes) -> None:
        self._delivered.update(mailboxes)
        if room := [each for each in mailboxes if self._delivered[each] <= QUOTA]:
            await super().deliver(room, content)


def losing_mail_over_quota(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, make_delivery=SilentQuota))


def accept_everything(_submission: Submission, _rules: PolicyRules) -> Verdict:
    return Accept()


def accepting_readable_mail(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, submission_policy=accept_everything))


def accepting_any_password(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, verify_password=lambda _password_hash, _password: True))
