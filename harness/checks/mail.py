"""A chatmail server's promises about mail: refused when readable, delivered once, reported at once, private."""

from __future__ import annotations

import contextlib
import time

from ..accounts import Credentials
from ..clients.mail.imap import ImapClient, ImapError, ImapRefused
from ..clients.mail.messages import encrypted_message, plain_message, pretended_messages
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..report.observations import Timing
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.mail import logged_in, mail_oneself, markers, submit_to_oneself
from ..target import Impact, Service

__all__ = [
    "each_recipient_is_woken_and_can_fetch",
    "idle_reports_new_mail",
    "mailboxes_are_private",
    "uids_never_go_back",
    "unencrypted_mail_is_refused",
]

WITHIN = 10.0
ENCRYPTION_NEEDED = 523
IDLE_ROUNDS = 10
RECEIVERS = 3


@check("MAIL-1")
def unencrypted_mail_is_refused(stage: Stage, outcome: Outcome) -> None:
    """Readable mail gets a 523 on both submission ports and reaches nobody; encrypted mail passes."""
    alice, bob = stage.target.new_account(), stage.target.new_account()
    with logged_in(stage, bob) as imap:
        for starttls in (False, True):
            with SmtpClient(stage.host, stage.target, starttls=starttls) as smtp:
                smtp.login(alice)
                _submit_readable_and_sealed(outcome, smtp, alice.address, bob.address, starttls=starttls)
        imap.select()
        readable = [marker for marker in markers(imap) if not marker.startswith("sealed-")]
    outcome.expect(not readable, f"unencrypted mail was delivered: {', '.join(readable)}")


def _submit_readable_and_sealed(
    outcome: Outcome, smtp: SmtpClient, sender: str, recipient: str, *, starttls: bool
) -> None:
    port = "submission (STARTTLS)" if starttls else "submissions (TLS)"
    readable = {"plain": plain_message(sender, recipient, marker="plain", text="hello")}
    readable |= pretended_messages(sender, recipient)
    for kind, message in readable.items():
        reply = smtp.submit(sender, [recipient], message)
        outcome.expect(
            reply.code == ENCRYPTION_NEEDED,
            f"unencrypted mail ({kind}) on {port} was answered with {reply} instead of 523",
        )
    sealed = encrypted_message(sender, recipient, marker=f"sealed-{starttls}")
    reply = smtp.submit(sender, [recipient], sealed)
    outcome.expect(reply.accepted, f"encrypted mail on {port} was refused: {reply}")


@check("MAIL-3")
def idle_reports_new_mail(stage: Stage, outcome: Outcome) -> None:
    """A waiting client hears of each new mail at once, also of one that came between SELECT and IDLE."""
    account = stage.target.new_account()
    latencies = []
    with logged_in(stage, account) as imap, SmtpClient(stage.host, stage.target) as smtp:
        smtp.login(account)
        known = imap.select()
        submit_to_oneself(stage, smtp, account, "between")
        with outcome.expect_to_arrive(ImapError):
            with imap.idle() as idle:
                exists = idle.wait_for_exists(within=WITHIN)
                outcome.expect(exists == known + 1, f"IDLE reported {exists} mails instead of {known + 1}")
            with imap.idle() as idle:
                for expected in range(known + 2, known + 2 + IDLE_ROUNDS):
                    submit_to_oneself(stage, smtp, account, f"during-{expected}")
                    accepted = time.monotonic()
                    exists = idle.wait_for_exists(within=WITHIN)
                    latencies.append(time.monotonic() - accepted)
                    outcome.expect(exists == expected, f"IDLE reported {exists} mails instead of {expected}")
    outcome.observe(Timing("from 250 to EXISTS", tuple(round(each, 4) for each in latencies), WITHIN))


@check("MAIL-2", "MAIL-3")
def each_recipient_is_woken_and_can_fetch(stage: Stage, outcome: Outcome) -> None:
    """A mail to three people who all wait in IDLE wakes each of them, and each can fetch it at that moment, once."""
    sender, *receivers = (stage.target.new_account() for _ in range(1 + RECEIVERS))
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(logged_in(stage, each)) for each in receivers]
        waiting = [(session, session.select(), stack.enter_context(session.idle())) for session in sessions]
        smtp = stack.enter_context(SmtpClient(stage.host, stage.target))
        smtp.login(sender)
        to = [each.address for each in receivers]
        reply = smtp.submit(sender.address, to, encrypted_message(sender.address, to[0], marker="to-all"))
        outcome.expect(reply.accepted, f"a mail to {RECEIVERS} recipients was refused: {reply}")
        for number, (_session, known, idle) in enumerate(waiting, 1):
            lost = f"recipient {number} of {RECEIVERS} is not woken by a mail that was answered with 250"
            with outcome.expect_to_arrive(ImapError, what=lost):
                exists = idle.wait_for_exists(within=WITHIN)
                outcome.expect(exists == known + 1, f"IDLE reported {exists} mails instead of {known + 1}")
    for number, receiver in enumerate(receivers, 1):
        with logged_in(stage, receiver) as imap:
            imap.select()
            found = markers(imap)
        outcome.expect(found == ["to-all"], f"recipient {number} of {RECEIVERS} has {len(found)} of 1 mail")


@check("MAIL-4", impact=Impact.LEAVES_TRACES)
def mailboxes_are_private(stage: Stage, outcome: Outcome) -> None:
    """Nobody opens another user's mailbox, and the first password of an account stays its only one."""
    alice, bob = stage.target.new_account(), stage.target.new_account()
    with logged_in(stage, alice) as imap:
        mail_oneself(stage, alice, "private")
        imap.select()
        outcome.expect(markers(imap) == ["private"], "alice does not find her own mail")
    with logged_in(stage, bob) as imap:
        _look_for_mail_of(alice, imap, outcome)
    _try_passwords(stage, alice, wrong=[bob.password, alice.password[:-1], alice.password + "x"])


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
        outcome.expect(not found, f"another user found {', '.join(found)} in the mailbox {name}")


def _try_passwords(stage: Stage, owner: Credentials, *, wrong: list[str]) -> None:
    outcome = stage.outcome
    for password in wrong:
        intruder = Credentials(owner.address, password)
        outcome.expect(
            not _imap_lets_in(stage, intruder), "IMAP accepted another password than the account's first"
        )
        outcome.expect(
            not _smtp_lets_in(stage, intruder), "SMTP accepted another password than the account's first"
        )
    outcome.expect(
        _imap_lets_in(stage, owner), "the right password was refused after attempts with wrong ones"
    )


def _imap_lets_in(stage: Stage, account: Credentials) -> bool:
    with ImapClient(stage.host, stage.target) as imap:
        try:
            imap.login(account)
        except ImapError:
            return False
        return True


def _smtp_lets_in(stage: Stage, account: Credentials) -> bool:
    with SmtpClient(stage.host, stage.target) as smtp:
        try:
            smtp.login(account)
        except SmtpError:
            return False
        return True


@check("MAIL-2", disturbs=(Service.MAIL,), impact=Impact.HARMFUL)
def uids_never_go_back(stage: Stage, outcome: Outcome) -> None:
    """A UID stands for one message for ever: also when the newest was deleted and the server started again."""
    account = stage.target.new_account()
    with logged_in(stage, account) as imap:
        for marker in ("first", "second"):
            mail_oneself(stage, account, marker)
        imap.select()
        before, uids = imap.uid_state(), _uids(imap)
        outcome.expect(len(uids) == 2, f"2 mails were delivered, {len(uids)} are there")
        if not uids:
            return
        _delete_as_core_does(outcome, imap, uids[-1])
        kept = imap.uid_state()
        outcome.expect(
            kept[1] == before[1],
            f"UIDNEXT fell from {before[1]} to {kept[1]} when the newest mail was deleted",
        )
    stage.server.program(Service.MAIL).restart()
    mail_oneself(stage, account, "third")
    with logged_in(stage, account) as imap:
        imap.select()
        after, new = imap.uid_state(), _uids(imap)
    outcome.expect(
        after[0] == before[0], f"UIDVALIDITY changed from {before[0]} to {after[0]} when the server restarted"
    )
    outcome.expect(after[1] > before[1], f"UIDNEXT was {before[1]} and is {after[1]} after one more mail")
    outcome.expect(
        new[:1] == uids[:1] and len(new) == 2 and new[1] > uids[-1],
        f"the UIDs were {uids}, and are {new} after the newest was deleted and another one came",
    )


def _uids(imap: ImapClient) -> list[int]:
    return [message.uid for message in imap.fetch_all()]


def _delete_as_core_does(outcome: Outcome, imap: ImapClient, uid: int) -> None:
    """CLOSE expunges what is marked, and tells nobody (RFC 9051, 6.4.1)."""
    for command in (f"UID STORE {uid} +FLAGS.SILENT (\\Deleted)", "CLOSE"):
        answer = imap.command(command)
        outcome.expect(answer.status == "OK", f"{command} was answered with {answer.status}")
