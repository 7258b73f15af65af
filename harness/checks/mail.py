"""What a chatmail server promises about mail: refused when readable, delivered once, reported at once, private."""

from __future__ import annotations

import email
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..accounts import Credentials
from ..clients.mail.imap import ImapClient, ImapError, ImapRefused
from ..clients.mail.messages import encrypted_message, plain_message, pretended_messages
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..hosts import Host
from ..steps.outcome import Outcome, check, current_outcome
from ..target import Impact, Target

__all__ = [
    "idle_reports_new_mail",
    "mailboxes_are_private",
    "uids_never_go_back",
    "unencrypted_mail_is_refused",
]

WITHIN = 10.0
ENCRYPTION_NEEDED = 523
IDLE_ROUNDS = 10


@contextmanager
def _logged_in(target: Target, host: Host, account: Credentials) -> Iterator[ImapClient]:
    with ImapClient(host, target) as imap:
        imap.login(account)
        yield imap


def markers(imap: ImapClient) -> list[str]:
    """Which of our mails lie in the open mailbox: the local parts of their Message-IDs, in order."""
    found = [email.message_from_bytes(message.data)["Message-ID"] for message in imap.fetch_all()]
    return [str(message_id).strip("<> ").partition("@")[0] for message_id in found]


@check("MAIL-1")
def unencrypted_mail_is_refused(target: Target, host: Host) -> Outcome:
    """Readable mail gets a 523 on both submission ports and reaches nobody; encrypted mail passes."""
    outcome = current_outcome()
    alice, bob = target.new_account(), target.new_account()
    with _logged_in(target, host, bob) as imap:
        for starttls in (False, True):
            port = "submission (STARTTLS)" if starttls else "submissions (TLS)"
            with SmtpClient(host, target, starttls=starttls) as smtp:
                smtp.login(alice)
                readable = {"plain": plain_message(alice.address, bob.address, marker="plain", text="hello")}
                readable |= pretended_messages(alice.address, bob.address)
                for kind, message in readable.items():
                    reply = smtp.submit(alice.address, [bob.address], message)
                    outcome.expect(
                        reply.code == ENCRYPTION_NEEDED,
                        f"unencrypted mail ({kind}) on {port} was answered with {reply} instead of 523",
                    )
                sealed = encrypted_message(alice.address, bob.address, marker=f"sealed-{starttls}")
                reply = smtp.submit(alice.address, [bob.address], sealed)
                outcome.expect(reply.accepted, f"encrypted mail on {port} was refused: {reply}")
        imap.select()
        arrived = markers(imap)
    return outcome.expect(
        not [marker for marker in arrived if not marker.startswith("sealed-")],
        f"unencrypted mail was delivered: {', '.join(arrived)}",
    )


@check("MAIL-3")
def idle_reports_new_mail(target: Target, host: Host) -> Outcome:
    """A waiting client hears of each new mail at once, also of one that came between SELECT and IDLE."""
    outcome = current_outcome()
    account = target.new_account()
    latencies = []
    with _logged_in(target, host, account) as imap, SmtpClient(host, target) as smtp:
        smtp.login(account)

        def deliver(marker: str) -> None:
            message = encrypted_message(account.address, account.address, marker=marker)
            reply = smtp.submit(account.address, [account.address], message)
            outcome.expect(reply.accepted, f"a mail to oneself was refused: {reply}")

        known = imap.select()
        deliver("between")
        with outcome.expect_to_arrive(ImapError):
            with imap.idle() as idle:
                exists = idle.wait_for_exists(within=WITHIN)
                outcome.expect(exists == known + 1, f"IDLE reported {exists} mails instead of {known + 1}")
            with imap.idle() as idle:
                for expected in range(known + 2, known + 2 + IDLE_ROUNDS):
                    deliver(f"during-{expected}")
                    accepted = time.monotonic()
                    exists = idle.wait_for_exists(within=WITHIN)
                    latencies.append(time.monotonic() - accepted)
                    outcome.expect(exists == expected, f"IDLE reported {exists} mails instead of {expected}")
    outcome.measurements["seconds_from_250_to_exists"] = [round(latency, 4) for latency in latencies]
    return outcome


@check("MAIL-4", impact=Impact.LEAVES_TRACES)
def mailboxes_are_private(target: Target, host: Host) -> Outcome:
    """Nobody opens another user's mailbox, and the first password of an account stays its only one."""
    outcome = current_outcome()
    alice, bob = target.new_account(), target.new_account()
    with SmtpClient(host, target) as smtp, _logged_in(target, host, alice) as imap:
        smtp.login(alice)
        message = encrypted_message(alice.address, alice.address, marker="private")
        reply = smtp.submit(alice.address, [alice.address], message)
        imap.select()
        outcome.expect(markers(imap) == ["private"], f"alice does not find her own mail ({reply})")
    with _logged_in(target, host, bob) as imap:
        _look_for_mail_of(alice, imap, outcome)
    _try_passwords(
        outcome, target, host, alice, wrong=[bob.password, alice.password[:-1], alice.password + "x"]
    )
    return outcome


def _look_for_mail_of(owner: Credentials, imap: ImapClient, outcome: Outcome) -> None:
    localpart = owner.address.partition("@")[0]
    names = ["INBOX", owner.address, localpart, f"INBOX/{owner.address}", f"../{owner.address}/INBOX"]
    names += [
        f"{space}{who}"
        for space in ("user/", "#user/", "Other Users/", "~")
        for who in (owner.address, localpart)
    ]
    for name in names:
        try:
            imap.select(name)
        except ImapRefused:
            continue
        found = markers(imap)
        outcome.expect(not found, f"another user found {', '.join(found)} in the mailbox {name!r}")


def _try_passwords(
    outcome: Outcome, target: Target, host: Host, owner: Credentials, *, wrong: list[str]
) -> None:
    for password in wrong:
        intruder = Credentials(owner.address, password)
        outcome.expect(
            not _imap_lets_in(target, host, intruder),
            "IMAP accepted another password than the account's first",
        )
        outcome.expect(
            not _smtp_lets_in(target, host, intruder),
            "SMTP accepted another password than the account's first",
        )
    outcome.expect(
        _imap_lets_in(target, host, owner), "the right password was refused after attempts with wrong ones"
    )


def _imap_lets_in(target: Target, host: Host, account: Credentials) -> bool:
    with ImapClient(host, target) as imap:
        try:
            imap.login(account)
        except ImapError:
            return False
        return True


def _smtp_lets_in(target: Target, host: Host, account: Credentials) -> bool:
    with SmtpClient(host, target) as smtp:
        try:
            smtp.login(account)
        except SmtpError:
            return False
        return True


@check("MAIL-2", needs=("faults",), impact=Impact.HARMFUL)
def uids_never_go_back(target: Target, host: Host) -> Outcome:
    """A UID stands for one message for ever: also when the newest was deleted and the server started again."""
    assert target.control is not None
    outcome = current_outcome()
    account = target.new_account()
    with _logged_in(target, host, account) as imap:
        for marker in ("first", "second"):
            _deliver_to_oneself(target, host, account, marker, outcome)
        imap.select()
        before = imap.uid_state()
        uids = [message.uid for message in imap.fetch_all()]
        outcome.expect(len(uids) == 2, f"2 mails were delivered, {len(uids)} are there")
        if not uids:
            return outcome
        for command in (f"UID STORE {uids[-1]} +FLAGS.SILENT (\\Deleted)", "EXPUNGE"):
            answer = imap.command(command)
            outcome.expect(answer.status == "OK", f"{command} was answered with {answer.status}")
    target.control.restart("mail")
    _deliver_to_oneself(target, host, account, "third", outcome)
    with _logged_in(target, host, account) as imap:
        imap.select()
        after = imap.uid_state()
        new = [message.uid for message in imap.fetch_all()]
    outcome.expect(
        after[0] == before[0], f"UIDVALIDITY changed from {before[0]} to {after[0]} when the server restarted"
    )
    outcome.expect(after[1] > before[1], f"UIDNEXT was {before[1]} and is {after[1]} after one more mail")
    return outcome.expect(
        new[:1] == uids[:1] and len(new) == 2 and new[1] > uids[-1],
        f"the UIDs were {uids}, and are {new} after the newest was deleted and another one came",
    )


def _deliver_to_oneself(
    target: Target, host: Host, account: Credentials, marker: str, outcome: Outcome
) -> None:
    with SmtpClient(host, target) as smtp:
        smtp.login(account)
        message = encrypted_message(account.address, account.address, marker=marker)
        reply = smtp.submit(account.address, [account.address], message)
        outcome.expect(reply.accepted, f"a mail to oneself was refused: {reply}")
