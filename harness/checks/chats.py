"""Chats of real Delta Chat cores: what people send arrives encrypted, once, and as it was."""

from __future__ import annotations

from ..clients.core.core import SendFailed
from ..clients.mail.smtp import SmtpClient
from ..report.observations import Measured
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.chats import (
    MIB,
    expect_nothing_else,
    file_of,
    friends,
    in_mib,
    longest_transfer,
    send_file,
    send_text,
    text_in_group,
)
from ..target import Impact

__all__ = [
    "files_arrive_up_to_the_limit",
    "files_arrive_unchanged",
    "group_messages_reach_every_member",
    "people_become_contacts_by_secure_join",
    "texts_arrive_encrypted_and_once",
]

GROUP = "three of us"
LARGEST = 24 * MIB
"""Largest file that is tried, whatever the server takes."""
GROWTH = 1.45
"""Size of a mail over that of its file, rounded up: core compresses, encrypts and writes base64."""


@check("MAIL-2", needs=("iroh_relay",))
def people_become_contacts_by_secure_join(stage: Stage, outcome: Outcome) -> None:
    """Two new accounts become contacts by a QR code, which takes four mails, the first of them not encrypted."""
    with friends(stage, "alice", "bob") as (alice, bob):
        for one, other in ((alice, bob), (bob, alice)):
            [contact] = one.account.chat_with(other.account).get_contacts()
            outcome.expect(
                contact.get_snapshot().address == other.account.address,
                f"{one.name} has another contact than {other.name} after the secure join",
            )


@check("MAIL-2", needs=("iroh_relay",), after=("chats.people_become_contacts_by_secure_join",))
def texts_arrive_encrypted_and_once(stage: Stage, outcome: Outcome) -> None:
    """Two people write to each other: both texts arrive, encrypted, once, and from whom they are."""
    with friends(stage, "alice", "bob") as people:
        alice, bob = people
        before = {each.name: len(each.account.events("IncomingMsg")) for each in people}
        send_text(outcome, alice, bob, "hello bob")
        send_text(outcome, bob, alice, "hello alice")
        # Behind it, no second copy of the first can be on its way.
        send_text(outcome, alice, bob, "goodbye bob")
        expect_nothing_else(outcome, [(alice, before["alice"] + 1), (bob, before["bob"] + 2)])


@check("MAIL-2", needs=("iroh_relay",), after=("chats.people_become_contacts_by_secure_join",))
def group_messages_reach_every_member(stage: Stage, outcome: Outcome) -> None:
    """In a group of three everybody writes, and both others get it: a mail to two recipients reaches two."""
    with friends(stage, "alice", "bob", "carol") as people:
        alice, *others = people
        group = alice.account.client.create_group(GROUP)
        for other in others:
            group.add_contact(alice.account.chat_with(other.account).get_contacts()[0])
        for sender in people:
            receivers = [each for each in people if each is not sender]
            text_in_group(outcome, GROUP, sender, receivers, f"from {sender.name}")
            if not outcome:
                return


@check("MAIL-2", needs=("iroh_relay",), after=("chats.people_become_contacts_by_secure_join",))
def files_arrive_unchanged(stage: Stage, outcome: Outcome, *, size: int = MIB) -> None:
    """A file goes both ways, and has the same SHA-256 at the other end."""
    with friends(stage, "alice", "bob") as (alice, bob):
        send_file(outcome, alice, bob, size)
        send_file(outcome, bob, alice, size)


@check("MAIL-2", needs=("iroh_relay",), impact=Impact.LEAVES_TRACES, after=("chats.files_arrive_unchanged",))
def files_arrive_up_to_the_limit(stage: Stage, outcome: Outcome) -> None:
    """A file that fits into the largest mail that the server takes (SIZE) arrives; a larger mail is refused at once."""
    with SmtpClient(stage.host, stage.target) as smtp:
        limit = smtp.largest_mail
    if limit is None:
        outcome.note(
            "SMTP names no limit (SIZE, RFC 1870): how it refuses a mail that is too large was not tried"
        )
    largest = LARGEST if limit is None else min(LARGEST, int(limit / GROWTH))
    outcome.observe(Measured("largest mail by SMTP's SIZE", limit, "bytes"))
    outcome.observe(Measured("largest file tried", largest, "bytes"))
    with friends(stage, "alice", "bob") as (alice, bob):
        send_file(outcome, alice, bob, largest)
        if limit is None or limit > LARGEST * GROWTH:
            return
        with file_of(limit) as file:
            sent = alice.account.send_file(bob.account, file, text="too large")
            try:
                alice.account.wait_until_sent(sent, within=longest_transfer(limit))
            except SendFailed:
                return
        outcome.expect(
            False, f"a file of {in_mib(limit)} was taken, and its mail is larger than the limit of SMTP"
        )
