"""What a server keeps of its users: mail, accounts, and nothing else."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import replace

from ..accounts import Credentials
from ..clients.mail.imap import ImapClient, ImapError
from ..clients.mail.messages import encrypted_message, plain_message
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..hosts import LoopbackHost
from ..servers.server import Wants
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.files import traces
from ..steps.mail import logged_in, markers
from ..steps.relay_exchange import WITHIN, OwnRelay
from ..steps.turn_exchange import OwnTurn
from ..target import Impact, Service

__all__ = ["files_tell_nothing_of_users"]

NOWHERE = ("the IP address of a client", "a password")
"""Canaries that are in no file; any other may be in a mail, or in the database of accounts and mails."""


@check("E2E-8", needs=("files",), wants=Wants(no_logs=True), disturbs=(Service.MAIL,), impact=Impact.HARMFUL)
def files_tell_nothing_of_users(stage: Stage, outcome: Outcome) -> None:
    """After mail, refusals and broken connections no log has an account or a mail, and no file an IP address."""
    client = LoopbackHost(".".join(["127", *(str(100 + secrets.randbelow(100)) for _ in range(3))]))
    there = replace(stage, host=client)
    alice, bob = stage.target.new_account(), stage.target.new_account()
    marker = f"canary-{secrets.token_hex(8)}"
    canaries = {
        "the IP address of a client": client.address,
        "the name of an account": alice.address.partition("@")[0],
        "the name of a recipient": bob.address.partition("@")[0],
        "the Message-ID of a mail": marker,
        "a password": alice.password,
    }
    before = {(each.file, each.canary) for each in traces(stage, canaries)}
    _use_the_server(there, alice, bob, marker)
    stage.server.program(Service.MAIL).restart()  # with what it still had to write
    found = [each for each in traces(stage, canaries) if (each.file, each.canary) not in before]
    if not any(each.where_it_belongs for each in found):
        outcome.note(
            "no file has the accounts either: perhaps the server writes elsewhere (`writes` in its TOML)"
        )
    for each in found:
        if each.canary in NOWHERE or not each.where_it_belongs:
            shown = "" if each.canary == "a password" else f": {each.line}"
            outcome.expect(False, f"{each.file.name} has {each.canary}{shown}")


def _use_the_server(stage: Stage, alice: Credentials, bob: Credentials, marker: str) -> None:
    """Everything that a client does, and some things that go wrong."""
    with logged_in(stage, alice), logged_in(stage, bob) as imap, SmtpClient(stage.host, stage.target) as smtp:
        smtp.login(alice)
        sealed = encrypted_message(alice.address, bob.address, marker=marker)
        reply = smtp.submit(alice.address, [bob.address], sealed)
        stage.outcome.expect(reply.accepted, f"an encrypted mail was refused: {reply}")
        smtp.submit(
            alice.address,
            [bob.address],
            plain_message(alice.address, bob.address, marker=marker, text="readable"),
        )
        smtp.submit(alice.address, [f"nobody-{bob.address}"], sealed)
        smtp.submit(bob.address, [alice.address], sealed)
        imap.select()
        stage.outcome.expect(markers(imap) == [marker], "an encrypted mail did not arrive")
    _fail_to_log_in(stage, Credentials(alice.address, bob.password))
    for port in (stage.target.imaps, stage.target.submissions, stage.target.https):
        with stage.host.connect(stage.target.host, port, within=WITHIN) as connection:
            connection.sendall(b"this is no TLS\r\n\r\n")
            with contextlib.suppress(OSError):
                connection.recv(1)
    if "iroh_relay" in stage.capabilities:
        with OwnRelay.of(stage).client() as node:
            node.ping(within=WITHIN)
    if "turn" in stage.capabilities:
        OwnTurn.of(stage).allocate()


def _fail_to_log_in(stage: Stage, wrong: Credentials) -> None:
    with contextlib.suppress(ImapError), ImapClient(stage.host, stage.target) as imap:
        imap.login(wrong)
    with contextlib.suppress(SmtpError), SmtpClient(stage.host, stage.target, starttls=True) as smtp:
        smtp.login(wrong)
