"""An operator's work by the admin API: what is switched takes effect, and is switched back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from ..accounts import Credentials
from ..clients.mail.admin import AdminClient, AdminError
from ..clients.mail.imap import ImapClient, ImapRefused
from ..clients.mail.smtp import SmtpClient, SmtpRefused
from ..stage.lab import LabStage
from ..stage.outcome import PromiseBroken
from ..stage.stage import Stage
from ..waiting import wait_until

__all__ = ["administrator", "listens", "may_log_in", "port_where_nobody_listens", "reload", "switched"]

RELOADS_WITHIN = 60.0
PORTS = range(20_000, 32_000)


@contextmanager
def administrator(stage: Stage | LabStage) -> Iterator[AdminClient]:
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
    reload(stage, admin)


def reload(stage: Stage, admin: AdminClient) -> None:
    """Let the server take up what was set. Returns when it answers at every port of the target.

    madmail ends its listeners for that, and the connection of the one who asks with them; or it answers a moment
    before it listens again.
    """
    with suppress(AdminError):
        admin.do("/admin/reload", wait=True)
    wait_until(
        lambda: _answers(stage, admin), "the server to come back after a reload", within=RELOADS_WITHIN
    )


def listens(stage: Stage, port: int) -> bool:
    """Somebody accepts connections at a port of the target."""
    try:
        stage.host.connect(stage.target.smtp_host or stage.target.host, port, within=5.0).close()
    except OSError:
        return False
    return True


def port_where_nobody_listens(stage: Stage) -> int:
    """A port of the target that an operator could choose; the kernel gives it to nobody who asks for any."""
    return next(
        port
        for port in iter(lambda: PORTS.start + secrets.randbelow(len(PORTS)), 0)
        if not listens(stage, port)
    )


def _answers(stage: Stage, admin: AdminClient) -> bool:
    try:
        admin.do("/admin/status", "GET")
        for port in (stage.target.imaps, stage.target.submissions):
            stage.host.connect(stage.target.host, port, within=1.0).close()
    except (AdminError, OSError):
        return False
    return True
