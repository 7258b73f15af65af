"""The services of a server stand on their own: one is restarted, the others do not notice."""

from __future__ import annotations

from ..clients.mail.imap import ImapError
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..clients.relay.client import RelayError
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.mail import logged_in, submit_to_oneself
from ..steps.relay_exchange import WITHIN, OwnRelay
from ..target import Impact, Service

__all__ = ["relay_restarts_without_touching_mail"]

MAIL_WITHIN = 30.0


@check(
    "IROH-8",
    needs=("iroh_relay",),
    disturbs=(Service.IROH_RELAY,),
    impact=Impact.HARMFUL,
    after=("relay.relay_is_reachable", "relay.relay_admits_a_client"),
)
def relay_restarts_without_touching_mail(stage: Stage, outcome: Outcome) -> None:
    """The relay is stopped, killed and started again: an open IDLE session gets mail meanwhile, and the relay works."""
    account = stage.target.new_account()
    with (
        outcome.expect_to_arrive(
            ImapError, SmtpError, what="connections to mail did not live on while the relay was restarted"
        ),
        logged_in(stage, account) as imap,
        SmtpClient(stage.host, stage.target) as smtp,
    ):
        smtp.login(account)
        known = imap.select()
        with imap.idle() as idle:
            for number, kill in enumerate((False, True), known + 1):
                _restart_relay(stage, kill=kill)
                submit_to_oneself(stage, smtp, account, f"restart-{number}")
                exists = idle.wait_for_exists(within=MAIL_WITHIN)
                outcome.expect(exists == number, f"IDLE reported {exists} mails instead of {number}")
    _expect_logs_apart(stage)


def _restart_relay(stage: Stage, *, kill: bool) -> None:
    """Restart the relay under a client; afterwards two new ones must reach each other."""
    relay = OwnRelay.of(stage)
    with stage.outcome.expect_to_arrive(RelayError, what="the relay does not work after its restart"):
        with relay.client() as client:
            client.ping(within=WITHIN)
            stage.server.program(Service.IROH_RELAY).restart(kill=kill)
            client.wait_closed(within=WITHIN)  # it is the process that relays which was replaced
        with relay.client() as sender, relay.client() as receiver:
            receiver.ping(within=WITHIN)
            sender.send(receiver.node_id, b"after the restart", within=WITHIN)
            receiver.receive_until(b"after the restart", within=WITHIN)


def _expect_logs_apart(stage: Stage) -> None:
    """Each of the two services has a log of its own, as far as their programs show one."""
    programs = stage.server.programs
    logs = [programs[each].log for each in (Service.MAIL, Service.IROH_RELAY) if each in programs]
    if None in logs or len(logs) < 2:
        stage.outcome.note("the logs of mail and the relay were not compared: they are not ours to read")
    else:
        stage.outcome.expect(logs[0] != logs[1], f"mail and the relay write into one log, {logs[0]}")
