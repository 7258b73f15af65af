"""An operator's switches and settings while the server runs (madmail's admin API): effective, and given back."""

from __future__ import annotations

from dataclasses import replace

from ..accounts import Credentials
from ..clients.mail.admin import AdminClient, AdminReply
from ..clients.mail.smtp import SmtpClient
from ..servers.server import Unsupported
from ..stage.check import check
from ..stage.offers import IROH_RELAY_KEY, TURN_KEY
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.administration import (
    administrator,
    listens,
    may_log_in,
    port_where_nobody_listens,
    reload,
    switched,
)
from ..steps.mail import logged_in, mail_oneself, takes_mail
from ..target import Impact
from ..waiting import wait_until

__all__ = [
    "blocked_accounts_stay_out",
    "listeners_move_with_a_reload",
    "quotas_are_told_and_kept",
    "services_that_are_switched_off_are_not_offered",
    "settings_are_kept_until_they_are_reset",
    "switches_tell_how_they_are",
]

BLOCKLIST = "/admin/blocklist"
SERVICES = {
    "TURN": ("/admin/services/turn", TURN_KEY),
    "the iroh relay": ("/admin/services/iroh", IROH_RELAY_KEY),
}
SWITCHES = {
    "creation at first log-in": "/admin/registration/jit",
    **{name: resource for name, (resource, _key) in SERVICES.items()},
    "shadowsocks": "/admin/services/shadowsocks",
}
IF_CONFIGURED = ("shadowsocks",)
QUOTA = "/admin/quota"
SUBMISSION_PORT = "/admin/settings/submission_port"
MOVES_WITHIN = 15.0
SETTINGS = {
    "language": "de",
    "smtp_hostname": "check.example",
    **{"turn_realm": "check.example", "turn_relay_ip": "192.0.2.7", "turn_ttl": "7200", "turn_port": "34780"},
    **{"iroh_relay_url": "https://relay.example", "iroh_port": "33400"},
    **{"smtp_port": "2525", "submission_port": "5870", "submission_tls_port": "4650", "sasl_port": "24000"},
    **{"imap_port": "1430", "imap_tls_port": "9930", "http_port": "8080", "https_port": "8443"},
}
"""Settings, and what is written into each for a moment. Nothing is told to take them up meanwhile."""


@check("E2E-17", needs=("admin",), impact=Impact.HARMFUL)
def blocked_accounts_stay_out(stage: Stage, outcome: Outcome) -> None:
    """A blocked account logs in nowhere, others do; unblocked it gets in again with the same password."""
    alice, bob = stage.target.new_account(), stage.target.new_account()
    for each in (alice, bob):
        may_log_in(stage, each)
    with administrator(stage) as admin:
        _require(admin, BLOCKLIST)
        admin.do(BLOCKLIST, username=bob.address)
        try:
            listed = {each.get("username") for each in admin.do(BLOCKLIST, "GET").get("blocked", ())}
            outcome.expect(bob.address in listed, "a blocked account is not in the list of those")
            if got_in := may_log_in(stage, bob):
                outcome.expect(False, f"a blocked account logs in over {' and '.join(got_in)}")
            outcome.expect(len(may_log_in(stage, alice)) == 2, "another account is blocked as well")
        finally:
            admin.do(BLOCKLIST, "DELETE", username=bob.address)
    outcome.expect(len(may_log_in(stage, bob)) == 2, "an account that is blocked no more cannot log in")


@check("E2E-17", needs=("admin", "turn"), impact=Impact.HARMFUL)
def services_that_are_switched_off_are_not_offered(stage: Stage, outcome: Outcome) -> None:
    """METADATA lacks a service that is switched off, still names the other, and names it again when it is on."""
    before = _offered(stage)
    with administrator(stage) as admin:
        for resource, _key in SERVICES.values():
            _require(admin, resource)
    outcome.expect("TURN" in before, "METADATA does not name TURN, before anything was switched")
    for name in before:
        resource, _key = SERVICES[name]
        with switched(stage, {resource: ("disable", "enable")}):
            meanwhile = _offered(stage)
            outcome.expect(name not in meanwhile, f"METADATA names {name}, which is switched off")
            gone = before - meanwhile - {name}
            outcome.expect(not gone, f"with {name}, {' and '.join(gone)} went out of METADATA as well")
        after = _offered(stage)
        outcome.expect(name in after, f"METADATA does not name {name}, which is switched on again")


@check("E2E-17", needs=("admin",), impact=Impact.HARMFUL)
def settings_are_kept_until_they_are_reset(stage: Stage, outcome: Outcome) -> None:
    """A value that is set is told by itself and among all, an empty one is refused; a reset takes it back."""
    with administrator(stage) as admin:
        _require(admin, "/admin/settings")
        tried = [name for name in SETTINGS if admin.ask(f"/admin/settings/{name}").status != 404]
        if not tried:
            raise Unsupported(f"{stage.target.name} has none of these settings: {', '.join(SETTINGS)}")
        outcome.note(f"settings that were tried: {', '.join(tried)}")
        for name in tried:
            _try_setting(admin, outcome, name, SETTINGS[name])


@check("E2E-17", needs=("admin",), impact=Impact.HARMFUL)
def switches_tell_how_they_are(stage: Stage, outcome: Outcome) -> None:
    """Each switch of the admin API is told as it was switched, off and on; what is no switching is refused."""
    with administrator(stage) as admin:
        tried = [name for name in SWITCHES if admin.ask(SWITCHES[name]).status != 404]
        for name in tried:
            if name in IF_CONFIGURED and not (reply := _switched_on_for_a_moment(admin, SWITCHES[name])).ok:
                outcome.note(f"{name} cannot be switched here: {reply}")
            else:
                _try_switch(admin, outcome, name, SWITCHES[name])


def _switched_on_for_a_moment(admin: AdminClient, resource: str) -> AdminReply:
    was_off = admin.do(resource, "GET").get("status") == "disabled"
    reply = admin.ask(resource, "POST", action="enable")
    if reply.ok and was_off:
        admin.do(resource, action="disable")
    return reply


def _try_switch(admin: AdminClient, outcome: Outcome, name: str, resource: str) -> None:
    before = admin.do(resource, "GET").get("status")
    try:
        for action, wanted in (("disable", "disabled"), ("enable", "enabled")):
            for told in (admin.do(resource, action=action), admin.do(resource, "GET")):
                found = told.get("status")
                outcome.expect(found == wanted, f"{name} is {found!r} after it was told to {action}")
        for method, action, status in (("POST", "enlarge", 400), ("DELETE", "disable", 405)):
            answer = admin.ask(resource, method, action=action)
            outcome.expect(
                answer.status == status, f"{method} {resource} with {action!r} was answered with {answer}"
            )
    finally:
        admin.do(resource, action="disable" if before == "disabled" else "enable")


@check("E2E-17", needs=("admin",), impact=Impact.HARMFUL)
def quotas_are_told_and_kept(stage: Stage, outcome: Outcome) -> None:
    """An account whose quota is smaller than its mail gets no more, others do; after a reset it gets mail again."""
    alice, bob = stage.target.new_account(), stage.target.new_account()
    for each in (alice, bob):
        with logged_in(stage, each):
            mail_oneself(stage, each, "before")
    with administrator(stage) as admin:
        _require(admin, QUOTA)
        about_all = admin.do(QUOTA, "GET")
        for name, least in (("total_storage_bytes", 1), ("accounts_count", 2), ("default_quota_bytes", 1)):
            found = about_all.get(name)
            outcome.expect(isinstance(found, int) and found >= least, f"{name} of all accounts is {found!r}")
        admin.do(QUOTA, "PUT", username=bob.address, max_bytes=1)
        try:
            told = admin.do(QUOTA, "GET", username=bob.address)
            found = told.get("max_bytes"), told.get("used_bytes", 0) > 0
            outcome.expect(found == (1, True), f"a quota of 1 byte was set, and is told as {dict(told)}")
            outcome.expect(not takes_mail(stage, alice, bob.address), "mail over the quota is accepted")
            outcome.expect(
                takes_mail(stage, bob, alice.address), "mail to another account is refused as well"
            )
        finally:
            admin.do(QUOTA, "DELETE", username=bob.address)
    outcome.expect(takes_mail(stage, alice, bob.address), "mail is refused although the quota was reset")


@check("E2E-17", needs=("admin",), impact=Impact.HARMFUL)
def listeners_move_with_a_reload(stage: Stage, outcome: Outcome) -> None:
    """Behind a reload submission listens at the port that was set, and not at the old one; a reset takes it back."""
    account, port = stage.target.new_account(), port_where_nobody_listens(stage)
    may_log_in(stage, account)
    with administrator(stage) as admin:
        _require(admin, SUBMISSION_PORT)
        before = admin.do(SUBMISSION_PORT, "GET")
        refused = admin.ask("/admin/reload", "GET")
        outcome.expect(refused.status == 405, f"GET /admin/reload was answered with {refused}, not 405")
        for each in (before, admin.do(SUBMISSION_PORT, action="set", value=str(port))):
            needed, wanted = each.get("restart_required") is True, each is not before
            outcome.expect(
                needed == wanted, f"restart_required is {needed} where the port is told as {dict(each)}"
            )
        try:
            reload(stage, admin)
            _expect_moved(stage, outcome, account, stage.target.submission, port)
        finally:
            if before.get("is_set"):
                admin.do(SUBMISSION_PORT, action="set", value=before.get("value"))
            else:
                admin.do(SUBMISSION_PORT, action="reset")
            reload(stage, admin)
    _expect_moved(stage, outcome, account, port, stage.target.submission)


def _expect_moved(stage: Stage, outcome: Outcome, account: Credentials, old: int, new: int) -> None:
    if new != stage.target.submission and not stage.target.is_ours:
        outcome.note(
            "the new port was not asked: a firewall in front of the server may know only the old one"
        )
    else:
        with outcome.expect_to_arrive(what=f"submission does not listen at port {new} after a reload"):
            wait_until(lambda: listens(stage, new), f"port {new} to accept", within=MOVES_WITHIN)
        moved = replace(stage.target, submission=new)
        with SmtpClient(stage.host, moved, starttls=True) as smtp:
            smtp.login(account)
    outcome.expect(not listens(stage, old), f"submission still listens at port {old} after a reload")


def _try_setting(admin: AdminClient, outcome: Outcome, name: str, value: str) -> None:
    resource = f"/admin/settings/{name}"
    before = admin.do(resource, "GET")
    try:
        admin.do(resource, action="set", value=value)
        for told in (admin.do(resource, "GET"), admin.do("/admin/settings", "GET").get(name, {})):
            is_kept = told.get("value") == value and told.get("is_set")
            outcome.expect(is_kept, f"{name} was set to {value!r}, and {told.get('value')!r} is told")
        empty = admin.ask(resource, "POST", action="set", value="")
        outcome.expect(empty.status == 400, f"{name} was set to nothing, which was answered with {empty}")
        admin.do(resource, action="reset")
        after = admin.do(resource, "GET")
        outcome.expect(
            not after.get("is_set") and after.get("value") != value,
            f"{name} is {after.get('value')!r} after it was reset",
        )
    finally:
        if before.get("is_set"):
            admin.do(resource, action="set", value=before.get("value"))


def _require(admin: AdminClient, resource: str) -> None:
    """Raise `Unsupported` where the API does not have it."""
    if admin.ask(resource).status == 404:
        raise Unsupported(f"its admin API has no {resource}")


def _offered(stage: Stage) -> set[str]:
    """Services that METADATA names now."""
    with logged_in(stage, stage.target.any_account()) as imap:
        found = imap.get_metadata(TURN_KEY, IROH_RELAY_KEY)
    return {name for name, (_resource, key) in SERVICES.items() if key in found and found[key].value}
