"""The operator's side: who gets an account, whose mail goes, and who may say so (madmail's admin API)."""

from __future__ import annotations

from ..accounts import Credentials
from ..clients.mail.admin import AdminClient
from ..clients.mail.web import WebAccounts, WebRefused
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.administration import administrator, may_log_in, switched
from ..steps.files import files_with
from ..steps.mail import logged_in, mail_oneself, markers, takes_mail
from ..target import Impact

__all__ = [
    "accounts_made_by_an_operator_work",
    "deleted_accounts_are_gone",
    "first_logins_can_be_switched_off",
    "purged_mail_is_gone",
    "the_admin_api_needs_its_token",
]

FIRST_LOGIN = "/admin/registration/jit"
WEB = "/admin/registration"
ACCOUNTS = "/admin/accounts"
QUEUE = "/admin/queue"
REFUSED = (401, 403)
UNKNOWN = (("/admin/nothing", "GET", 404), ("/admin/status", "DELETE", 405), (QUEUE, "GET", 405))
"""Questions that no API of this kind knows, and the status of each answer."""


@check("E2E-17", needs=("admin",), impact=Impact.LEAVES_TRACES)
def the_admin_api_needs_its_token(stage: Stage, outcome: Outcome) -> None:
    """Without its token the admin API tells and does nothing; with it, what it does not know is refused as such."""
    with administrator(stage) as admin:
        admin.do("/admin/status", "GET")
        token = stage.target.admin.token if stage.target.admin else ""
        for wrong in ("", token[:-1], token + "x", "admin"):
            for resource, method in ((ACCOUNTS, "GET"), ("/admin/status", "GET")):
                reply = AdminClient(stage.host, stage.target, token=wrong).ask(resource, method)
                outcome.expect(
                    reply.status in REFUSED and not reply.body,
                    f"{method} {resource} was answered with {reply.status} to somebody without the token",
                )
            admin.do("/admin/status", "GET")  # it forgives wrong ones: nobody else is to be locked out
        for resource, method, status in UNKNOWN:
            found = admin.ask(resource, method)
            outcome.expect(
                found.status == status, f"{method} {resource} was answered with {found}, not {status}"
            )
        for resource in (WEB, QUEUE):
            found = admin.ask(resource, "POST", action="enlarge")
            outcome.expect(found.status == 400, f"an action that does not exist was answered with {found}")


@check("E2E-11", needs=("admin",), impact=Impact.HARMFUL)
def first_logins_can_be_switched_off(stage: Stage, outcome: Outcome) -> None:
    """Creation at first log-in is off: no stranger gets in, older accounts do, and POST /new gives one while it may."""
    known, stranger, second, later = (stage.target.new_account() for _ in range(4))
    with logged_in(stage, known):
        pass
    with switched(stage, {FIRST_LOGIN: ("disable", "enable"), WEB: ("close", "open")}):
        let_in = may_log_in(stage, stranger)
        outcome.expect(
            not let_in,
            f"an account is made at the first log-in over {' and '.join(let_in)}, although that is switched off",
        )
        outcome.expect(len(may_log_in(stage, known)) == 2, "an older account cannot log in any more")
        outcome.expect(not _given(stage), "POST /new gives accounts, although registration is closed")
    with switched(stage, {FIRST_LOGIN: ("disable", "enable")}):
        given = _given(stage)
        outcome.expect(
            given and len(may_log_in(stage, given)) == 2, "POST /new gives no account that can log in"
        )
        if may_log_in(stage, second):
            outcome.note(
                "while POST /new is open a first log-in makes accounts, whatever its own switch says"
            )
    outcome.expect(may_log_in(stage, later), "nobody gets an account at the first log-in, which is on again")


@check("E2E-14", needs=("admin",), impact=Impact.HARMFUL)
def purged_mail_is_gone(stage: Stage, outcome: Outcome) -> None:
    """Read mail is purged, then all mail of one user: it is in no mailbox and no file; what others have stays."""
    alice, bob = stage.target.new_account(), stage.target.new_account()
    with logged_in(stage, alice) as imap, logged_in(stage, bob) as other, administrator(stage) as admin:
        for marker in ("purged-read", "purged-unread"):
            mail_oneself(stage, alice, f"{marker}-{alice.address[:6]}")
        mail_oneself(stage, bob, "kept")
        imap.select()
        imap.mark_seen(1)
        read, unread = markers(imap)
        deleted = admin.do(QUEUE, action="purge_read").get("deleted")
        outcome.expect(deleted, "purge_read says that it deleted nothing, and a mail was read")
        outcome.expect(
            _in_mailbox(stage, alice) == [unread],
            "after purge_read the mail that was read is there, or another is not",
        )
        admin.do(QUEUE, action="purge_user", username=alice.address)
        left = _in_mailbox(stage, alice)
        outcome.expect(not left, f"{len(left)} of 1 mail is there after the user's mail was purged")
        other.select()
        outcome.expect(markers(other) == ["kept"], "the mail of another user went with it")
        for file in files_with(stage, read, unread):
            outcome.expect(False, f"a purged mail is in {file} all the same")


@check("E2E-17", needs=("admin",), impact=Impact.HARMFUL)
def deleted_accounts_are_gone(stage: Stage, outcome: Outcome) -> None:
    """An account that was deleted is in no list, gets no mail, and whoever takes its name finds none of its mail."""
    alice, bob = stage.target.new_account(), stage.target.new_account()
    with logged_in(stage, bob):
        mail_oneself(stage, bob, "of-the-deleted")
    with logged_in(stage, alice), administrator(stage) as admin:
        outcome.expect(bob.address in _listed(admin), "the list of accounts lacks one")
        admin.do(ACCOUNTS, "DELETE", username=bob.address)
        listed = _listed(admin)
    outcome.expect(bob.address not in listed, "a deleted account is in the list of accounts")
    outcome.expect(alice.address in listed, "another account went with the deleted one")
    if takes_mail(stage, alice, f"nobody{bob.address}"):
        outcome.note("mail to an address that nobody has is accepted, and its sender is not told")
    else:
        outcome.expect(not takes_mail(stage, alice, bob.address), "mail to a deleted account is accepted")
    if may_log_in(stage, bob):
        outcome.note("the name of a deleted account is free again, for whoever logs in first")
        outcome.expect(
            not _in_mailbox(stage, bob), "whoever takes the name of a deleted account finds its mail"
        )


@check("E2E-17", needs=("admin",), impact=Impact.HARMFUL)
def accounts_made_by_an_operator_work(stage: Stage, outcome: Outcome) -> None:
    """An account that the operator makes is in the list, logs in over IMAP and SMTP, and is deleted again."""
    with administrator(stage) as admin:
        made = admin.do(ACCOUNTS)
        account = Credentials(str(made.get("email")), str(made.get("password")))
        stage.target.on_secret(account.password)
        try:
            outcome.expect(
                account.address in _listed(admin), "an account that the operator made is in no list"
            )
            let_in = may_log_in(stage, account)
            outcome.expect(
                len(let_in) == 2,
                f"an account that the operator made logs in over {' and '.join(let_in) or 'nothing'}",
            )
        finally:
            admin.do(ACCOUNTS, "DELETE", username=account.address)
        outcome.expect(account.address not in _listed(admin), "a deleted account is in the list of accounts")


def _given(stage: Stage) -> Credentials | None:
    """An account by POST /new; None: that is closed."""
    try:
        given = WebAccounts(stage.host).new(stage.target)
    except WebRefused:
        return None
    stage.target.on_secret(given.password)
    return given


def _in_mailbox(stage: Stage, account: Credentials) -> list[str]:
    with logged_in(stage, account) as imap:
        imap.select()
        return markers(imap)


def _listed(admin: AdminClient) -> set[str]:
    return {str(each.get("username")) for each in admin.do(ACCOUNTS, "GET").get("accounts", ())}
