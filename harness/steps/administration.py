"""An operator's work by the admin API: what is switched takes effect, and is switched back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..accounts import Credentials
from ..clients.mail.admin import AdminClient, AdminError
from ..clients.mail.imap import ImapClient, ImapRefused
from ..clients.mail.smtp import SmtpClient, SmtpRefused
from ..stage.outcome import PromiseBroken
from ..stage.stage import Stage
from ..waiting import wait_until

__all__ = ["administrator", "may_log_in", "switched"]

RELOADS_WITHIN = 60.0


@contextmanager
def administrator(stage: Stage) -> Iterator[AdminClient]:
    """The admin API, for whoever has the token. A refusal of what it must do ends the check as a failure."""
    try:
        yield AdminClient(stage.host, stage.target)
    except AdminError as error:
        raise PromiseBroken(str(error)) from error


@contextmanager
def switched(stage: Stage, settings: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """Settings as they are wanted inside the block: resource -> actions at its begin and at its end."""
    with administrator(stage) as admin:
        try:
            _switch(stage, admin, {name: begin for name, (begin, _end) in settings.items()})
            yield
        finally:
            _switch(stage, admin, {name: end for name, (_begin, end) in settings.items()})


def may_log_in(stage: Stage, account: Credentials) -> list[str]:
    """Protocols over which a log-in is accepted."""
    accepted = []
    with ImapClient(stage.host, stage.target) as imap:
        try:
            imap.login(account)
            accepted.append("IMAP")
        except ImapRefused:
            pass
    with SmtpClient(stage.host, stage.target) as smtp:
        try:
            smtp.login(account)
            accepted.append("SMTP")
        except SmtpRefused:
            pass
    return accepted


def _switch(stage: Stage, admin: AdminClient, actions: Mapping[str, str]) -> None:
    for resource, action in actions.items():
        admin.do(resource, action=action)
    try:
        admin.do(
            "/admin/reload", wait=True
        )  # madmail keeps some of it in memory, and ends its listeners meanwhile
    except AdminError:
        wait_until(
            lambda: _answers(stage, admin), "the server to come back after a reload", within=RELOADS_WITHIN
        )


def _answers(stage: Stage, admin: AdminClient) -> bool:
    try:
        admin.do("/admin/status", "GET")
        for port in (stage.target.imaps, stage.target.submissions):
            stage.host.connect(stage.target.host, port, within=1.0).close()
    except (AdminError, OSError):
        return False
    return True
