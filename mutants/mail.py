"""Mail services that are wrong in one way. Each function runs one until a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from reference_server import tls
from reference_server.mail.__main__ import main
from reference_server.mail.delivery import DurableDelivery, Notifier
from reference_server.mail.dialects import Habits
from reference_server.mail.imap.capabilities import capabilities
from reference_server.mail.imap.states import ALLOWED_COMMANDS, State
from reference_server.mail.mailbox import INBOX, Refused
from reference_server.mail.policy import Accept, PolicyRules, Submission, Verdict
from reference_server.mail.store import Store
from reference_server.mail.strategies import Strategies

from .wire import tls_as_somebody_else

__all__ = [
    "accepting_any_password",
    "accepting_readable_mail",
    "answering_before_storing",
    "answering_metadata_to_strangers",
    "changing_uid_validity",
    "hiding_metadata",
    "never_waking_idle",
    "opening_mailboxes_of_others",
    "waking_idle_late",
    "with_certificate_of_another_name",
    "with_dead_relay_url",
    "with_dead_turn_address",
    "with_foreign_relay_url",
    "with_foreign_turn_address",
    "with_relay_behind_bad_certificate",
    "with_unusable_relay_url",
    "without_relay_url",
]

RELAY_URL = "--iroh-relay-url"
TURN_ADDRESS = "--turn-address"
DISCARD_PORT = 9
WAKES_AFTER = 30.0
LATE = 0.2
"""Seconds between the answer and the disk."""

RIGHT = Strategies()


def without_relay_url(arguments: Sequence[str]) -> int:
    position = arguments.index(RELAY_URL)
    return main([*arguments[:position], *arguments[position + 2 :]])


def _with_changed(option: str, arguments: Sequence[str], change: Callable[[str], str]) -> int:
    position = arguments.index(option) + 1
    return main([*arguments[:position], change(arguments[position]), *arguments[position + 1 :]])


def _with_relay_url(arguments: Sequence[str], change: Callable[[str], str]) -> int:
    return _with_changed(RELAY_URL, arguments, change)


def with_dead_relay_url(arguments: Sequence[str]) -> int:
    return _with_relay_url(arguments, lambda url: f"{url.rpartition(':')[0]}:{DISCARD_PORT}")


def with_foreign_relay_url(arguments: Sequence[str]) -> int:
    return _with_relay_url(arguments, lambda _url: "http://203.0.113.7:3340")  # RFC 5737: nobody lives there


def with_unusable_relay_url(arguments: Sequence[str]) -> int:
    return _with_relay_url(arguments, lambda url: url.removeprefix("http://"))


def with_foreign_turn_address(arguments: Sequence[str]) -> int:
    return _with_changed(TURN_ADDRESS, arguments, lambda _address: "203.0.113.7:3478")


def with_dead_turn_address(arguments: Sequence[str]) -> int:
    return _with_changed(
        TURN_ADDRESS, arguments, lambda address: f"{address.rpartition(':')[0]}:{DISCARD_PORT}"
    )


def with_certificate_of_another_name(arguments: Sequence[str]) -> int:
    issue = tls.issue_development_certificate

    def for_another_name(directory: Path, names: Sequence[str]) -> tls.DevelopmentCertificate:
        del names
        return issue(directory, ["mail.example.org"])

    tls.issue_development_certificate = for_another_name
    return main(arguments)


def with_relay_behind_bad_certificate(arguments: Sequence[str]) -> int:
    host = arguments[arguments.index("--host") + 1]
    with tls_as_somebody_else(host) as port:
        return _with_relay_url(arguments, lambda _url: f"https://{host}:{port}")


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


def accept_everything(_submission: Submission, _rules: PolicyRules) -> Verdict:
    return Accept()


def accepting_readable_mail(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, submission_policy=accept_everything))


def accepting_any_password(arguments: Sequence[str]) -> int:
    return main(arguments, replace(RIGHT, verify_password=lambda _password_hash, _password: True))
