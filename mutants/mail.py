"""Mail services that are wrong in one way. Each function runs one until a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from reference_server.mail.__main__ import main
from reference_server.mail.delivery import DurableDelivery, Notifier
from reference_server.mail.imap.states import ALLOWED_COMMANDS, State
from reference_server.mail.policy import Accept, PolicyRules, Submission, Verdict
from reference_server.mail.strategies import Strategies

from .wire import tls_as_somebody_else

__all__ = [
    "accepting_any_password",
    "accepting_readable_mail",
    "answering_before_storing",
    "answering_metadata_to_strangers",
    "never_waking_idle",
    "with_dead_relay_url",
    "with_foreign_relay_url",
    "with_relay_behind_bad_certificate",
    "with_unusable_relay_url",
    "without_relay_url",
]

RELAY_URL = "--iroh-relay-url"
DISCARD_PORT = 9
LATE = 0.2
"""Seconds between the answer and the disk."""

RIGHT = Strategies()


def without_relay_url(arguments: Sequence[str]) -> int:
    position = arguments.index(RELAY_URL)
    return main([*arguments[:position], *arguments[position + 2 :]])


def _with_relay_url(arguments: Sequence[str], change: Callable[[str], str]) -> int:
    position = arguments.index(RELAY_URL) + 1
    return main([*arguments[:position], change(arguments[position]), *arguments[position + 1 :]])


def with_dead_relay_url(arguments: Sequence[str]) -> int:
    return _with_relay_url(arguments, lambda url: f"{url.rpartition(':')[0]}:{DISCARD_PORT}")


def with_foreign_relay_url(arguments: Sequence[str]) -> int:
    return _with_relay_url(arguments, lambda _url: "http://203.0.113.7:3340")  # RFC 5737: nobody lives there


def with_unusable_relay_url(arguments: Sequence[str]) -> int:
    return _with_relay_url(arguments, lambda url: url.removeprefix("http://"))


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
