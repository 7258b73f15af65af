"""The services of a server stand on their own: one is restarted, the others do not notice."""

from __future__ import annotations

from ..clients.mail.imap import ImapClient, ImapError
from ..clients.mail.messages import encrypted_message
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..clients.relay.client import RelayClient, RelayError
from ..hosts import Host
from ..steps.outcome import Outcome, check, current_outcome
from ..target import Impact, Target
from ..urls import RelayUrl
from .discovery import offered

__all__ = ["relay_restarts_without_touching_mail"]

WITHIN = 30.0


@check("IROH-8", needs=("iroh_relay", "faults", "logs"), impact=Impact.HARMFUL)
def relay_restarts_without_touching_mail(target: Target, host: Host) -> Outcome:
    """The relay is stopped, killed and started again: an open IDLE session gets mail meanwhile, and the relay works."""
    assert target.control is not None
    url = offered(target, host).iroh_relay
    outcome = current_outcome()
    account = target.new_account()
    with (
        outcome.expect_to_arrive(
            ImapError, SmtpError, what="connections to mail did not live on while the relay was restarted"
        ),
        ImapClient(host, target) as imap,
        SmtpClient(host, target) as smtp,
    ):
        imap.login(account)
        smtp.login(account)
        known = imap.select()
        with imap.idle() as idle:
            for number, kill in enumerate((False, True), known + 1):
                _restart_relay(outcome, target, host, url, kill=kill)
                message = encrypted_message(account.address, account.address, marker=f"restart-{number}")
                reply = smtp.submit(account.address, [account.address], message)
                outcome.expect(reply.accepted, f"a mail after the relay's restart was refused: {reply}")
                exists = idle.wait_for_exists(within=WITHIN)
                outcome.expect(exists == number, f"IDLE reported {exists} mails instead of {number}")
    logs = [target.control.logs(service).path for service in ("mail", "iroh_relay")]
    return outcome.expect(logs[0] != logs[1], f"mail and the relay write into one log, {logs[0]}")


def _restart_relay(outcome: Outcome, target: Target, host: Host, url: RelayUrl, *, kill: bool) -> None:
    """Restart the relay under a client; afterwards two new ones must reach each other."""
    assert target.control is not None
    with outcome.expect_to_arrive(RelayError, what="the relay does not work after its restart"):
        with RelayClient(host, url, within=WITHIN) as client:
            client.ping(within=WITHIN)
            target.control.restart("iroh_relay", kill=kill)
            client.wait_closed(within=WITHIN)  # it is the process that relays which was replaced
        with (
            RelayClient(host, url, within=WITHIN) as sender,
            RelayClient(host, url, within=WITHIN) as receiver,
        ):
            receiver.ping(within=WITHIN)
            sender.send(receiver.node_id, b"after the restart", within=WITHIN)
            receiver.receive_until(b"after the restart", within=WITHIN)
