"""Accounts: made at the first log-in or by POST /new, for names of this server only, and many at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ..accounts import Credentials, FirstLogin
from ..clients.core.core import CoreError
from ..clients.mail.imap import ImapClient, ImapError, ImapRefused
from ..clients.mail.messages import encrypted_message
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..clients.mail.web import WebAccounts
from ..hosts import MissingCapability
from ..report.observations import Measured
from ..stage.check import check
from ..stage.outcome import Outcome, promised
from ..stage.stage import Stage
from ..steps.mail import logged_in, markers
from ..target import Impact, Target
from ..waiting import WaitTimeout

__all__ = [
    "log_ins_are_for_this_server_only",
    "many_accounts_at_once",
    "new_accounts_come_online",
    "the_web_gives_accounts",
]

SOMEBODY_ELSE = "192.0.2.1"
"""RFC 5737: an address that no server has."""
WITHOUT_BRACKETS = str.maketrans("", "", "[]")
MANY = 100
AT_ONCE = 25
"""Connections that are opened at the same time, so that the machine we run on is not what breaks."""
MANY_WITHIN = 60.0


@check("MAIL-3", needs=("iroh_relay",))
def new_accounts_come_online(stage: Stage, outcome: Outcome) -> None:
    """Two cores are given new accounts: both are configured and watch their inbox."""
    with (
        promised(CoreError, what="a core does not come online with a new account"),
        stage.people("alice", "bob"),
    ):
        outcome.note("a core accepts any certificate (`ic=3`): that of mail is judged by the room tls")


@check("MAIL-4")
def the_web_gives_accounts(stage: Stage, outcome: Outcome) -> None:
    """POST /new gives accounts: each of its own, both log-ins take it, and it can mail."""
    source = WebAccounts(stage.host)
    accounts = [source.new(stage.target) for _ in range(2)]
    for account in accounts:
        stage.target.on_secret(account.password)
    outcome.expect(accounts[0].address != accounts[1].address, "POST /new gave the same account twice")
    alice, bob = accounts
    with logged_in(stage, bob) as imap, SmtpClient(stage.host, stage.target) as smtp:
        smtp.login(alice)
        reply = smtp.submit(
            alice.address, [bob.address], encrypted_message(alice.address, bob.address, marker="new")
        )
        outcome.expect(reply.accepted, f"a mail between accounts of POST /new was refused: {reply}")
        imap.select()
        outcome.expect(markers(imap) == ["new"], "a mail between accounts of POST /new did not arrive")


@check("MAIL-4", impact=Impact.LEAVES_TRACES)
def log_ins_are_for_this_server_only(stage: Stage, outcome: Outcome) -> None:
    """A log-in makes accounts of this server's domain only: any other domain, and any misspelt one, is refused.

    Where madmail's domain is an address, it may be written without brackets, and is the same account.
    """
    if not isinstance(stage.target.accounts, FirstLogin):
        raise MissingCapability(
            "first_login",
            "accounts were given, and are not made at the first log-in",
            heal="leave --account out",
        )
    account = stage.target.new_account()
    with logged_in(stage, account):
        pass
    password = stage.target.any_account().password
    for address in _foreign(stage.target):
        made = _lets_in(stage, Credentials(address, password))
        outcome.expect(not made, f"IMAP made an account for {address}, which is not of this server")
    if stage.target.dialect == "madmail" and stage.target.domain.startswith("["):
        _expect_bare_address(stage, outcome, account)


def _expect_bare_address(stage: Stage, outcome: Outcome, account: Credentials) -> None:
    bare = Credentials(account.address.translate(WITHOUT_BRACKETS), account.password)
    other = Credentials(bare.address, account.password + "x")
    outcome.expect(_lets_in(stage, bare), f"IMAP refused {bare.address}, which should be {account.address}")
    outcome.expect(
        not _lets_in(stage, other),
        f"{bare.address} has another password than {account.address}: two accounts",
    )
    with SmtpClient(stage.host, stage.target) as smtp, promised(SmtpError, what="SMTP knows no bare address"):
        smtp.login(bare)


def _foreign(target: Target) -> Iterator[str]:
    """Addresses in which only the domain is wrong."""
    name = FirstLogin().new(target).address.partition("@")[0]
    domain = target.domain
    yield f"{name}@{SOMEBODY_ELSE.join('[]')}"
    yield f"{name}@abcd"
    yield f"{name}@sub.{domain.strip('[]')}"
    yield f"{name}@{domain}@{domain}"
    if domain.startswith("["):
        yield f"{name}@%5b{domain.strip('[]')}%5d"  # as a careless client writes it


def _lets_in(stage: Stage, account: Credentials) -> bool:
    with ImapClient(stage.host, stage.target) as imap:
        try:
            imap.login(account)
        except ImapRefused:
            return False
        return True


@check("MAIL-2", "MAIL-3", impact=Impact.HARMFUL)
def many_accounts_at_once(stage: Stage, outcome: Outcome, *, number: int = MANY) -> None:
    """A hundred new accounts at once: each logs in, waits in IDLE, and is woken by the one mail that was sent to it."""
    accounts = [stage.target.new_account() for _ in range(number)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lost = Counter(pool.map(lambda place: _mail_in_idle(stage, accounts, place), range(number)))
    right = lost.pop("", 0)
    outcome.observe(Measured("accounts that got their mail", right, f"of {number}"))
    for fault, times in lost.most_common():
        outcome.expect(False, f"{times} of {number} accounts: {fault}")


def _mail_in_idle(stage: Stage, accounts: list[Credentials], place: int) -> str:
    """Log in, and be woken by a mail of one's own; what went wrong, empty for nothing."""
    account = accounts[place]
    try:
        with (
            logged_in(stage, account) as imap,
            SmtpClient(stage.host, stage.target, within=MANY_WITHIN) as smtp,
        ):
            smtp.login(account)
            imap.select()
            message = encrypted_message(account.address, account.address, marker=f"mail-{place}")
            with imap.idle() as idle:
                reply = smtp.submit(account.address, [account.address], message)
                if not reply.accepted:
                    return f"the mail was refused: {reply}"
                idle.wait_for_exists(within=MANY_WITHIN)
            found = markers(imap)
    except (ImapError, SmtpError, WaitTimeout) as error:
        return str(error)
    return (
        "" if found == [f"mail-{place}"] else f"{len(found)} mails are there, and not the one that was sent"
    )
