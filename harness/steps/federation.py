"""Two servers in one lab that mail each other, and mail of a server that is none of them."""

from __future__ import annotations

import http
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from ..accounts import Credentials
from ..clients.mail.imap import ImapClient
from ..clients.mail.messages import encrypted_message
from ..clients.mail.smtp import Reply, ServerClient, SmtpClient
from ..network.lab import Lab, LabHost
from ..scratch import scratch_directory
from ..servers.server import Place, Ports, RunningServer, Server, Unsupported, Wants
from ..stage.lab import LabStage
from ..stage.outcome import promised
from ..stage.stage import Stage
from ..target import Service
from ..waiting import Deadline, WaitTimeout
from .administration import administrator
from .mail import markers

__all__ = ["ARRIVES_WITHIN", "MAIL_ONLY", "Mailbox", "bring", "federation", "mailbox", "override", "send"]

EVERYTHING = Wants()
MAIL_ONLY = Wants(services=frozenset({Service.MAIL}))
OVERRIDES = "/admin/dns"
ARRIVES_WITHIN = 60.0
"""Seconds for a mail from one server to the other; one is usual."""
UNSIGNED = (
    "the two servers are of different kinds: they take mail by POST /mxdeliv, too, and without a signature (DKIM), "
    "which chatmail asks for and madmail does not have"
)
LOOK_AGAIN_AFTER = 5.0
"""Seconds in IDLE, should a mail have come between the look and IDLE, and the server say nothing of it."""


@dataclass(frozen=True)
class Mailbox:
    """The inbox of an account that is logged in."""

    account: Credentials
    imap: ImapClient

    @property
    def address(self) -> str:
        return self.account.address

    def found(self) -> list[str]:
        """Markers of the mails that are there, in order."""
        self.imap.select()
        return markers(self.imap)

    def wait_for(self, number: int, *, within: float = ARRIVES_WITHIN) -> list[str]:
        """As `found`, when there are so many. Raises `WaitTimeout`."""
        deadline = Deadline(within)
        while len(found := self.found()) < number:
            if deadline.over:
                raise WaitTimeout(f"{number} mails of {self.address}", within, found or "nothing")
            try:
                with self.imap.idle() as idle:
                    idle.wait_for_exists(within=min(LOOK_AGAIN_AFTER, deadline.remaining()))
            except WaitTimeout:
                continue
        return found


@contextmanager
def federation(
    stage: Stage,
    *names: str,
    named: bool,
    wants: Wants = EVERYTHING,
    differing: Mapping[str, Wants] | None = None,
) -> Iterator[tuple[LabStage, ...]]:
    """Servers in one lab, each with a domain of its own (`named`), or with its address for one. The first is of the
    target's kind, the others of the kind that was chosen for that, or of the target's.

    Domains begin with an underscore, so that nobody has to vouch for their certificates (as chatmail has it).
    `differing`: properties wanted of one of them, by name.
    """
    of_each = dict.fromkeys(names, wants) | dict(differing or {})
    own, other = stage.session.kind, stage.session.choice.second or stage.session.kind
    assert own is not None, "a check with the need `federation` is left out where no server can be started"
    assert other is not None
    if len(of_each) > 1 and own.name != other.name:
        stage.outcome.note(UNSIGNED)
        of_each = {name: wanted | Wants(mxdeliv=True) for name, wanted in of_each.items()}
    with Lab() as network, ExitStack() as servers:
        yield tuple(
            servers.enter_context(
                _server(stage, other if number else own, network, name, wanted, named=named)
            )
            for number, (name, wanted) in enumerate(of_each.items())
        )


@contextmanager
def _server(
    stage: Stage, kind: Server, network: Lab, name: str, wants: Wants, *, named: bool
) -> Iterator[LabStage]:
    logs = stage.directory(name)
    machine = network.server(name)
    domain = f"_{name}.example" if named else None
    if domain is not None:
        network.names.set(domain, machine.address)
    with scratch_directory("state") as state:
        place = Place(machine.address, state, logs, Ports(), name=domain)
        asked = stage.session.wants | wants | Wants(federation=True)
        with kind.start(machine, place, asked) as server:
            assert isinstance(server, RunningServer)
            if server.turn_secret is not None:
                stage.target.on_secret(server.turn_secret)
            for record in server.records:
                network.names.publish(*record)
            target = replace(
                server.target,
                name=f"{server.target.name} ({name})",
                host=machine.address,
                other_addresses=frozenset(machine.addresses) - {machine.address},
                on_secret=stage.target.on_secret,
            )
            yield LabStage(stage, network, machine, machine, server, target, None, logs, stage.outcome)


@contextmanager
def mailbox(lab: LabStage, account: Credentials | None = None) -> Iterator[Mailbox]:
    """A new account, or this one, logged in."""
    account = account or lab.target.new_account()
    with ImapClient(lab.host, lab.target) as imap:
        imap.login(account)
        yield Mailbox(account, imap)


def send(lab: LabStage, sender: Mailbox, recipients: Sequence[str], marker: str) -> Reply:
    """One encrypted mail by submission."""
    with SmtpClient(lab.host, lab.target) as smtp:
        smtp.login(sender.account)
        message = encrypted_message(sender.address, recipients[0], marker=marker)
        return smtp.submit(sender.address, recipients, message)


def override(lab: LabStage, somebody: Mailbox, target: str | None) -> None:
    """Let a server send mail for somebody's domain to `target`, a host or the URL of an exchanger; None: as ever."""
    domain = somebody.address.partition("@")[2]
    with administrator(lab) as admin:
        if target is None:
            admin.do(OVERRIDES, "DELETE", lookup_key=domain)
        elif admin.ask(OVERRIDES).status == http.HTTPStatus.NOT_FOUND:
            raise Unsupported(f"the admin API of {lab.target.name} has no {OVERRIDES}")
        else:
            admin.do(OVERRIDES, lookup_key=domain, target_host=target, comment="a check")


def bring(host: LabHost, lab: LabStage, sender: str, recipient: str, message: bytes) -> Reply:
    """One mail by the way of other servers, from a machine that may be none. Raises `Unsupported`."""
    if lab.target.smtp is None:
        raise Unsupported(f"{lab.target.name} names no port at which other servers bring mail")
    with promised(what="the port for other servers does not answer"), ServerClient(host, lab.target) as smtp:
        return smtp.submit(sender, [recipient], message)
