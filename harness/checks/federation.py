"""Mail between servers: what people of one send to people of another, and what strangers try to send through it."""

from __future__ import annotations

import http
from contextlib import ExitStack
from dataclasses import replace

from ..clients.core.core import CoreError, SendFailed, befriend
from ..clients.mail.messages import encrypted_message, plain_message
from ..clients.mail.web import post_mail
from ..network import profiles
from ..network.conditions import Conditions, apply
from ..servers.server import Unsupported, Wants
from ..stage.check import check
from ..stage.lab import LabStage
from ..stage.outcome import Outcome, promised
from ..stage.stage import Stage
from ..steps.chats import JOIN_WITHIN, MIB, send_file, text_in_group
from ..steps.exchanger import Carried, Exchanger
from ..steps.federation import MAIL_ONLY, Mailbox, bring, federation, mailbox, override, send
from ..steps.mail import logged_in, markers
from ..target import Service

__all__ = [
    "groups_and_files_cross_a_slow_link",
    "mail_goes_both_ways_once",
    "mail_goes_by_an_exchanger",
    "mail_survives_a_kill_and_a_server_that_is_down",
    "posted_mail_reaches_known_people_only",
    "strangers_bring_mail_for_people_here_only",
    "unsigned_mail_is_refused",
]

WAYS = {"by name": True, "by address": False}
SLOW = Conditions(rate_kbit=2000)
"""Of the second server: a file of a megabyte takes six seconds."""
GROUP = "two servers"
MAIL_AND_MXDELIV = MAIL_ONLY | Wants(mxdeliv=True)
MAILS = 5
ELSEWHERE = "somebody@[203.0.113.99]"
PEER = "_peer.example"
FORGED = (
    f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d={PEER}; s=opendkim; h=from; bh=AAAA; b=AAAA\r\n"
).encode()


@check("FED-1", needs=("lab", "federation"))
def mail_goes_both_ways_once(stage: Stage, outcome: Outcome) -> None:
    """Two servers of this kind mail each other, by name and by address: each mail arrives, both ways, once."""
    for way, named in WAYS.items():
        with (
            federation(stage, "one", "two", named=named, wants=MAIL_ONLY) as (one, two),
            mailbox(one) as alice,
            mailbox(one) as carol,
            mailbox(two) as bob,
        ):
            _expect_accepted(outcome, one, alice, [bob.address, carol.address], "first")
            _expect_once(outcome, way, bob, ["first"])
            if not outcome:
                return
            _expect_accepted(outcome, two, bob, [alice.address, carol.address], "answer")
            _expect_accepted(outcome, one, alice, [bob.address], "last")  # behind it no copy is on its way
            _expect_once(outcome, way, bob, ["first", "last"])
            _expect_once(outcome, way, alice, ["answer"])
            _expect_once(outcome, way, carol, ["answer", "first"])


def _expect_accepted(
    outcome: Outcome, lab: LabStage, sender: Mailbox, recipients: list[str], marker: str
) -> None:
    reply = send(lab, sender, recipients, marker)
    outcome.expect(reply.accepted, f"a mail for another server was refused: {reply}")


def _expect_once(outcome: Outcome, way: str, who: Mailbox, wanted: list[str]) -> None:
    with outcome.expect_to_arrive(what=f"{way}: a mail of the other server does not arrive"):
        found = sorted(who.wait_for(len(wanted)))
        outcome.expect(
            found == sorted(wanted),
            f"{way}: {len(wanted)} mails were sent to somebody of the other server, and {len(found)} arrived",
        )


@check(
    "FED-1",
    needs=("lab", "federation", "iroh_relay"),
    after=("federation.mail_goes_both_ways_once",),
)
def groups_and_files_cross_a_slow_link(stage: Stage, outcome: Outcome, *, size: int = MIB // 2) -> None:
    """People of two servers, one of which has a slow link, join by QR code, write in a group, and send files."""
    with (
        federation(stage, "one", "two", named=True) as (one, two),
        apply(two.machine.link, up=SLOW, down=SLOW),
        one.people(alice=profiles.PUBLIC, carol=profiles.PUBLIC) as here,
        two.people(bob=profiles.PUBLIC) as there,
    ):
        alice, carol, bob = here["alice"], here["carol"], there["bob"]
        for other in (bob, carol):
            what = f"alice and {other.name} do not become contacts by secure join"
            with promised(SendFailed, CoreError, what=what):
                befriend(alice.account, other.account, within=JOIN_WITHIN)
        group = alice.account.client.create_group(GROUP)
        for other in (bob, carol):
            group.add_contact(alice.account.chat_with(other.account).get_contacts()[0])
        for sender, receivers in ((alice, (bob, carol)), (bob, (alice, carol)), (carol, (alice, bob))):
            text_in_group(outcome, GROUP, sender, receivers, f"from {sender.name}")
        send_file(outcome, alice, bob, size)
        send_file(outcome, bob, alice, size)


@check("FED-2", needs=("lab", "federation"), after=("federation.mail_goes_both_ways_once",))
def mail_survives_a_kill_and_a_server_that_is_down(stage: Stage, outcome: Outcome) -> None:
    """Mail for a server that is down was answered with 250, and its own server is killed: it arrives, once."""
    wanted = [f"mail-{number}" for number in range(MAILS)]
    with federation(stage, "one", "two", named=True, wants=MAIL_ONLY) as (one, two), ExitStack() as sessions:
        alice = sessions.enter_context(mailbox(one))
        with mailbox(two) as bob:
            account = bob.account
        two.server.program(Service.MAIL).stop()
        for marker in wanted:
            _expect_accepted(outcome, one, alice, [account.address], marker)
        one.server.program(Service.MAIL).restart(kill=True)
        two.server.program(Service.MAIL).start()
        with mailbox(two, account) as bob:
            what = f"of {MAILS} mails that were answered with 250 are lost"
            with outcome.expect_to_arrive(what=f"some {what}"):
                found = sorted(bob.wait_for(MAILS))
                outcome.expect(
                    found == wanted, f"of {MAILS} mails that were sent these arrived: {', '.join(found)}"
                )


@check(
    "E2E-20",
    needs=("lab", "federation", "admin"),
    wants=Wants(mxdeliv=True),
    after=("federation.mail_goes_both_ways_once",),
)
def mail_goes_by_an_exchanger(
    stage: Stage, outcome: Outcome, *, schemes: tuple[str, ...] = ("https", "http")
) -> None:
    """An exchanger that operators name for a domain (DNS overrides) carries each mail once, as long as it is named."""
    with (
        federation(stage, "one", "two", named=True, wants=MAIL_AND_MXDELIV) as (one, two),
        Exchanger(one.network.server("exchanger"), stage.directory("exchanger")) as exchanger,
        mailbox(one) as alice,
        mailbox(two) as bob,
    ):
        wanted: list[str] = []
        for scheme in schemes:
            for lab, other in ((one, bob), (two, alice)):
                override(lab, other, exchanger.url(scheme))
            wanted.append(f"by-{scheme}")
            for lab, sender, receiver in ((one, alice, bob), (two, bob, alice)):
                _expect_accepted(outcome, lab, sender, [receiver.address], wanted[-1])
                if not outcome:
                    return
                _expect_once(outcome, f"by an exchanger ({scheme})", receiver, wanted)
                _expect_carried(outcome, exchanger, Carried(scheme, sender.address, receiver.address, 200))
        before = len(exchanger.carried)
        override(one, bob, None)
        _expect_accepted(outcome, one, alice, [bob.address], "without")
        _expect_once(outcome, "without an exchanger", bob, [*wanted, "without"])
        outcome.expect(len(exchanger.carried) == before, "an exchanger that was deleted still gets mail")


def _expect_carried(outcome: Outcome, exchanger: Exchanger, mail: Carried) -> None:
    times = sum(replace(each, status=mail.status) == mail for each in exchanger.carried)
    outcome.expect(
        times == 1,
        f"a mail for another server passed {times} times by the exchanger ({mail.scheme}) that the operator has named",
    )


@check("FED-3", "MAIL-1", needs=("lab", "federation"))
def strangers_bring_mail_for_people_here_only(stage: Stage, outcome: Outcome) -> None:
    """Another server brings encrypted mail for people of this one; nobody sends through it, nothing readable enters."""
    with federation(stage, "one", named=True, wants=MAIL_ONLY) as (one,), mailbox(one) as bob:
        peer = one.network.server("peer")
        eve = f"eve@[{peer.address}]"

        def bring_to(recipient: str, message: bytes) -> str:
            reply = bring(peer, one, eve, recipient, message)
            return "" if not reply.accepted else str(reply)

        taken = bring_to(bob.address, encrypted_message(eve, bob.address, marker="right"))
        outcome.expect(taken, "an encrypted mail of another server was refused")
        taken = bring_to(ELSEWHERE, encrypted_message(eve, ELSEWHERE, marker="through"))
        outcome.expect(
            not taken, f"a stranger's mail for somebody elsewhere was taken: {taken} (an open relay)"
        )
        readable = plain_message(eve, bob.address, marker="readable", text="everybody can read this")
        taken = bring_to(bob.address, readable)
        outcome.expect(not taken, f"a readable mail of another server was taken: {taken}")
        with outcome.expect_to_arrive(what="an encrypted mail of another server does not arrive"):
            found = bob.wait_for(1)
            outcome.expect(
                found == ["right"], f"of mails of strangers these are in a mailbox: {', '.join(found)}"
            )


@check("FED-4", needs=("lab", "federation"))
def unsigned_mail_is_refused(stage: Stage, outcome: Outcome) -> None:
    """Mail without a right signature of its author's domain (DKIM) is refused, also in the name of people here."""
    with federation(stage, "one", named=True, wants=MAIL_ONLY) as (one,), mailbox(one) as bob:
        if one.target.dialect != "chatmail":
            raise Unsupported(
                f"{one.target.name} is of the dialect {one.target.dialect}, which asks for no signature"
            )
        peer = one.network.server("peer")
        one.network.names.set(PEER, peer.address)
        for author, signature, kind in (
            (f"eve@{PEER}", b"", "unsigned mail"),
            (f"eve@{PEER}", FORGED, "mail with a forged signature"),
            (bob.address, b"", "unsigned mail in the name of a user of this server"),
        ):
            message = signature + encrypted_message(author, bob.address, marker="unsigned")
            reply = bring(peer, one, author, bob.address, message)
            outcome.expect(not reply.accepted, f"{kind} was taken: {reply}")
        outcome.expect(not bob.found(), "mail without a right signature is in a mailbox")


@check("FED-3", wants=Wants(mxdeliv=True))
def posted_mail_reaches_known_people_only(stage: Stage, outcome: Outcome) -> None:
    """`POST /mxdeliv` brings encrypted mail to people of this server; what is for others, or readable, goes nowhere."""
    account = stage.target.new_account()
    domain = account.address.partition("@")[2]
    eve = "eve@_peer.example"
    with logged_in(stage, account) as imap:

        def post(recipients: list[str], marker: str, *, readable: bool = False) -> int:
            message = encrypted_message(eve, recipients[0], marker=marker)
            if readable:
                message = plain_message(eve, recipients[0], marker=marker, text="everybody can read this")
            return post_mail(stage.host, stage.target, eve, recipients, message)

        status = post([f"nobody-at-all@{domain}", account.address, ELSEWHERE], "right")
        if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.METHOD_NOT_ALLOWED):
            raise Unsupported(f"{stage.target.name} has no /mxdeliv ({status})")
        outcome.expect(status == http.HTTPStatus.OK, f"an encrypted mail was answered with {status}")
        for recipient in (f"admin@{domain}", f"postmaster@{domain}", f"nobody-at-all@{domain}", ELSEWHERE):
            status = post([recipient], "for-somebody-else")
            outcome.expect(
                status == http.HTTPStatus.OK,
                f"mail for {recipient} was answered with {status}, which tells strangers who lives here",
            )
        status = post([account.address], "readable", readable=True)
        outcome.expect(status >= http.HTTPStatus.BAD_REQUEST, f"a readable mail was answered with {status}")
        imap.select()
        found = markers(imap)
        outcome.expect(
            found == ["right"],
            f"one mail was right, and these are in the mailbox: {', '.join(found) or 'none'}",
        )
