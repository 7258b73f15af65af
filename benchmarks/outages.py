"""`python -m benchmarks.outages`: what a server stands on fails under load: its certificate expires, and DNS is dead.

- *certificate*: what is connected goes on, over TLS, too; clients that come are refused by their own TLS, with that
  reason, until there is a new certificate and the service is started again.
- *dns*: mail inside the server goes on; mail for another server is answered with 250 and kept, and arrives once when
  names are found again.

Exit code 1 for a fault.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from harness.clients.mail.smtp import SmtpClient, SmtpError
from harness.network.names import Refusal
from harness.report.run import Run
from harness.servers.certificates import issue
from harness.stage.session import open_session
from harness.stage.stage import Stage
from harness.steps.federation import MAIL_ONLY, Mailbox, federation, mailbox, send
from harness.target import Service
from harness.waiting import WaitTimeout, wait_until

from .survival import WITHIN, Sender, at_work, exchanges, go_on, mail_faults, mailbox_faults, new_accounts

VALID_FOR = 20.0
"""Seconds of a certificate that expires under load."""
MARGIN = 10.0
ROUNDS = 5
"""Of ten messages each, while DNS is dead."""
SERVICES = (Service.MAIL, Service.TURN)
"""Those that have it."""
MAILS = 5


def certificate(
    stage: Stage, *, valid_for: float = VALID_FOR, within: float = VALID_FOR + MARGIN
) -> list[str]:
    """The certificate expires under load, and there is a new one. Returns sentences on what went wrong.

    `within`: seconds in which a new connection has to be refused for that.
    """
    alice, bob = new_accounts(stage)
    loads = exchanges(stage, alice, bob)
    faults = []
    _certify(stage, timedelta(seconds=valid_for))
    with at_work(loads):
        go_on(loads)
        breaks = {each.name: each.breaks for each in loads}
        try:
            wait_until(
                lambda: "expired" in _refusal(stage),
                "an expired certificate to be refused",
                within=within,
            )
        except WaitTimeout as error:
            faults.append(str(error))
        go_on(loads, or_break=True)
        faults += [
            f"{each.name} broke when the certificate expired"
            for each in loads
            if each.breaks > breaks[each.name]
        ]
        _certify(stage, timedelta(days=1))
        go_on(loads)
        if refusal := _refusal(stage):
            faults.append(f"with a new certificate a new connection is refused: {refusal}")
    accepted, lost = mailbox_faults(stage, loads, bob)
    print(f"certificate: {accepted} messages answered with 250; faults: {len(faults) + len(lost)}")
    return faults + lost


def _certify(stage: Stage, valid_for: timedelta) -> None:
    """Give the server a certificate of a new CA, and start again what has the old one."""
    ca = stage.target.ca_file
    assert ca is not None
    with tempfile.TemporaryDirectory() as directory:
        new = issue(Path(directory), [stage.target.host, stage.target.domain], valid_for=valid_for)
        for source, name in ((new.chain, "cert.pem"), (new.key, "key.pem"), (new.ca, ca.name)):
            ca.with_name(name).write_bytes(source.read_bytes())
    for each in SERVICES:
        stage.server.program(each).restart(kill=True)


def _refusal(stage: Stage) -> str:
    """Words with which TLS refuses a new connection; empty where it is taken."""
    try:
        SmtpClient(stage.host, stage.target, within=WITHIN).close()
    except (SmtpError, OSError) as error:
        return str(error)
    return ""


def dns(stage: Stage, *, failure: Refusal = Refusal.SILENCE, heals: bool = True) -> list[str]:
    """DNS is dead under load, and is back. Returns sentences on what went wrong."""
    wanted = [f"elsewhere-{number}" for number in range(MAILS)]
    faults = []
    with (
        federation(stage, "one", "two", named=True, wants=MAIL_ONLY) as (one, two),
        mailbox(one) as alice,
        mailbox(one) as carol,
        mailbox(two) as bob,
    ):
        load = Sender("sender", one.host, one.target, alice.account, carol.address)
        names, elsewhere = one.network.names, two.target.domain
        with at_work([load]):
            go_on([load])
            names.fail(elsewhere, failure)
            for marker in wanted:
                if not (reply := send(one, alice, [bob.address], marker)).accepted:
                    faults.append(f"with dead DNS a mail for another server is refused: {reply}")
            wait_until(
                lambda: any(each.name == elsewhere for each in names.queries),
                "a question for the other server",
                within=WITHIN,
            )
            for _ in range(ROUNDS):
                go_on([load], or_break=True)
            if load.breaks:
                faults.append("mail inside the server broke when DNS was dead")
            if bob.found():
                faults.append("mail arrived without DNS: this tests nothing")
            if heals:
                names.heal(elsewhere)
            faults += mail_faults(wanted, _arrived(bob, within=WITHIN if heals else MARGIN))
        faults += mail_faults(load.accepted, carol.found())
    print(f"dns: {len(load.accepted)} messages inside, {MAILS} to the other server; faults: {len(faults)}")
    return faults


def _arrived(mailbox: Mailbox, *, within: float) -> list[str]:
    try:
        return mailbox.wait_for(MAILS, within=within)
    except WaitTimeout:
        return mailbox.found()


OUTAGES: Mapping[str, Callable[[Stage], list[str]]] = {"certificate": certificate, "dns": dns}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.outages", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("outage", nargs="*", help=f"of {', '.join(OUTAGES)} (default: all)", metavar="OUTAGE")
    options = parser.parse_args(argv)
    faults = []
    for name in options.outage or OUTAGES:
        with (
            tempfile.TemporaryDirectory(prefix="dc-outages-") as directory,
            open_session(Run(Path(directory))) as session,
        ):
            faults += OUTAGES[name](session.stage(name))
    for each in faults:
        print(each)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
