"""Looks, and the causes that follow from them: nothing else, and no healthy server has one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.causes.catalogue import CATALOGUE
from harness.causes.cause import Weight
from harness.diagnosis.diagnosis import diagnose
from harness.report.looks import Allocated, CallLook, HttpLook, NameLook, PortLook, TurnsLook

from .looks import (
    ADDRESS,
    DAY,
    GRANTED,
    HEALTHY,
    HOST,
    MAIL,
    NAME,
    OTHER,
    REFUSED,
    RELAY,
    TURN,
    before_the_log_in,
    certificate,
    not_admitted,
    port,
    ports,
    with_mail,
    with_relay,
    with_turn,
)

UDP_SILENT = (PortLook("turn/udp", ADDRESS, 3478, "silent"),)
UDP_REFUSED = (PortLook("turn/udp", ADDRESS, 3478, "refused"),)
NOWHERE = NameLook(HOST, failure="unknown", seconds=0.1)
SILENCE = NameLook(HOST, failure="silent", seconds=5.0)
FOREIGN = NameLook("turn.example.net", (ADDRESS, "198.51.100.9"), 2, foreign=("198.51.100.9",))


def tcp(reached: Any, trouble: str = "") -> tuple[PortLook, ...]:
    return (PortLook("turn/tcp", ADDRESS, 3478, reached, trouble),)


def silent_turn(**fields: Any):
    return with_turn(address="", realm="", first=None, second=None, pair=None, from_outside=None, **fields)


def refusing_turn(first: Allocated = REFUSED, **fields: Any):
    return with_turn(first=first, second=None, pair=None, from_outside=None, to_outside=None, **fields)


def relay_port(reached: Any):
    return with_relay(
        ports=(PortLook("relay", ADDRESS, 3340, reached),),
        upgrade=None,
        page=None,
        admits_035=None,
        arrived=(),
    )


SICK = {
    # the server itself
    "no such name": (before_the_log_in(name=NOWHERE, ports=(), certificates=()), "name.does_not_resolve"),
    "silent name server": (before_the_log_in(name=SILENCE, ports=(), certificates=()), "name.dns_silent"),
    "SERVFAIL": (
        before_the_log_in(name=replace(SILENCE, failure="failed", seconds=0.1), ports=(), certificates=()),
        "name.dns_silent",
    ),
    "dead second address": (
        replace(
            HEALTHY,
            name=replace(NAME, addresses=(ADDRESS, OTHER), count=2),
            ports=(
                *ports(),
                *ports(OTHER, **dict.fromkeys(("imaps", "submissions", "submission", "https"), "silent")),
            ),
        ),
        "name.address_dead",
    ),
    "machine is gone": (
        before_the_log_in(
            ports=ports(imaps="silent", submissions="silent", submission="silent", https="silent"),
            certificates=(),
        ),
        "name.address_dead",
    ),
    "imaps closed": (before_the_log_in(ports=ports(imaps="refused")), "mail.port_closed"),
    "imaps filtered": (before_the_log_in(ports=ports(imaps="silent")), "mail.port_filtered"),
    "submissions filtered": (replace(HEALTHY, ports=ports(submissions="silent")), "mail.port_filtered"),
    "expired": (
        replace(HEALTHY, certificates=(certificate(problem="expired", days_left=-3.0),)),
        "mail.certificate_expired",
    ),
    "another name": (
        replace(HEALTHY, certificates=(certificate(problem="wrong name"),)),
        "mail.certificate_wrong_name",
    ),
    "self-signed": (
        replace(HEALTHY, certificates=(certificate(problem="untrusted", self_signed=True),)),
        "mail.certificate_untrusted",
    ),
    "BYE": (
        before_the_log_in(ports=(port("imaps", greeting="* BYE go away", turned_away=True), *ports()[1:])),
        "mail.refuses_sessions",
    ),
    "554": (
        replace(
            HEALTHY,
            ports=(ports()[0], port("submissions", greeting="554 no", turned_away=True), *ports()[2:]),
        ),
        "mail.smtp_refuses_sessions",
    ),
    "no new accounts": (
        with_mail(log_in="refused", log_in_words="NO closed", metadata="", submission=""),
        "mail.registration_closed",
    ),
    "IDLE is silent": (with_mail(idle_wakes_s=None, idle_found_later=True), "mail.idle_is_silent"),
    "readable mail": (
        with_mail(unencrypted="accepted", unencrypted_words="250 ok (at DATA)"),
        "mail.accepts_unencrypted",
    ),
    "accounts cannot be looked up": (
        with_mail(log_in="failed", log_in_words="NO [UNAVAILABLE] later", metadata="", submission=""),
        "mail.log_in_fails",
    ),
    # METADATA
    "METADATA-SERVER alone": (
        with_mail(capabilities=("IMAP4REV1", "METADATA-SERVER"), metadata="", keys=()),
        "metadata.not_advertised",
    ),
    "GETMETADATA refused": (
        with_mail(metadata="refused", metadata_words="NO", keys=(), turn="", relay=""),
        "metadata.unreadable",
    ),
    "turn unusable": (with_mail(turn="", turn_problem="it begins 'x'"), "metadata.turn_unusable"),
    "a password that no secret makes": (
        replace(
            with_turn(first=Allocated("refused", 401, "Unauthorized")),
            mail=replace(MAIL, password_problem="it has 34 characters"),
        ),
        "metadata.turn_unusable",
    ),
    "relay unusable": (with_mail(relay="", relay_problem="'x' is no URL"), "metadata.relay_unusable"),
    # TURN
    "TURN host unknown": (replace(HEALTHY, turn_name=NOWHERE, turn=None), "turn.name_does_not_resolve"),
    "TURN host silent": (replace(HEALTHY, turn_name=SILENCE, turn=None), "turn.name_silent"),
    "TURN of somebody else too": (replace(HEALTHY, turn_name=FOREIGN), "turn.address_foreign"),
    "TURN has a dead address": (
        with_turn(
            udp=(PortLook("turn/udp", ADDRESS, 3478, "open"), PortLook("turn/udp", OTHER, 3478, "silent"))
        ),
        "turn.address_dead",
    ),
    "TURN is stopped": (silent_turn(udp=UDP_REFUSED, tcp=tcp("refused")), "turn.not_answering"),
    "TURN stands still": (
        silent_turn(udp=UDP_SILENT, tcp=tcp("silent", "takes connections, and does not answer STUN")),
        "turn.not_answering",
    ),
    "UDP dropped": (silent_turn(udp=UDP_SILENT, tcp=tcp("open")), "turn.udp_filtered"),
    "UDP dropped, no TCP": (silent_turn(udp=UDP_SILENT, tcp=tcp("refused")), "turn.udp_filtered"),
    "STUN alone": (refusing_turn(Allocated("silent")), "turn.not_answering"),
    "another secret": (refusing_turn(), "turn.secret_differs"),
    "another secret, of pion": (
        refusing_turn(Allocated("refused", 400, "Bad Request")),
        "turn.secret_differs",
    ),
    "clock a day behind": (
        replace(with_mail(expires_in_s=-60.0), clock_ahead_s=-DAY),
        "turn.clock_wrong",
    ),
    "clock a day ahead, refused": (
        replace(refusing_turn(), clock_ahead_s=DAY, mail=replace(MAIL, expires_in_s=2 * DAY)),
        "turn.clock_wrong",
    ),
    "a call that fails": (
        replace(HEALTHY, call=CallLook("failed", "the call is none")),
        "turn.calls_fail",
    ),
    "milliseconds": (
        replace(refusing_turn(), mail=replace(MAIL, expiry_in_milliseconds=True)),
        "turn.expiry_in_milliseconds",
    ),
    "expired credentials": (
        replace(refusing_turn(), mail=replace(MAIL, expires_in_s=-40.0)),
        "turn.credentials_expired",
    ),
    "known secret": (with_mail(known_secret="the word `secret`"), "turn.secret_well_known"),
    "known secret besides": (with_turn(secret_accepted="the empty one"), "turn.secret_well_known"),
    "inner address": (
        with_turn(first=Allocated("granted", relayed="10.0.0.5:50000", place="private")),
        "turn.relayed_address_private",
    ),
    "somebody else's address": (
        with_turn(first=Allocated("granted", relayed="198.51.100.9:50000", place="foreign")),
        "turn.relayed_address_foreign",
    ),
    "relay range closed": (with_turn(from_outside=False, to_outside=None), "turn.relay_ports_closed"),
    "answers do not get out": (with_turn(to_outside=False), "turn.relay_ports_closed"),
    "nothing is relayed": (with_turn(pair=False, from_outside=False), "turn.does_not_relay"),
    "no hairpin": (with_turn(pair=False), "turn.does_not_relay"),
    "redirect to nobody": (
        refusing_turn(
            Allocated("refused", 300, "Try Alternate"),
            redirected_to=f"{ADDRESS}:3479",
            redirected=Allocated("silent"),
        ),
        "turn.redirect_loop",
    ),
    "redirect elsewhere": (
        refusing_turn(Allocated("refused", 300, "Try Alternate"), redirected_to="198.51.100.9:3478"),
        "turn.address_foreign",
    ),
    "one allocation": (with_turn(second=Allocated("refused", 486, "Quota")), "turn.quota_too_small"),
    "own realm refused": (
        refusing_turn(
            Allocated("refused", 437, "wrong credentials: the realm value is incorrect"), realm_refused=True
        ),
        "turn.realm_differs",
    ),
    # the iroh relay
    "relay host unknown": (replace(HEALTHY, relay_name=NOWHERE, relay=None), "relay.name_does_not_resolve"),
    "relay host silent": (replace(HEALTHY, relay_name=SILENCE, relay=None), "relay.name_silent"),
    "relay of somebody else": (replace(HEALTHY, relay_name=FOREIGN), "relay.address_foreign"),
    "relay has a dead address": (
        with_relay(
            ports=(PortLook("relay", ADDRESS, 3340, "open"), PortLook("relay", OTHER, 3340, "refused"))
        ),
        "relay.address_dead",
    ),
    "relay is stopped": (relay_port("refused"), "relay.port_closed"),
    "relay is filtered": (relay_port("silent"), "relay.port_filtered"),
    "http for https": (
        with_relay(other_scheme=True, upgrade=HttpLook(400, "nginx"), arrived=()),
        "relay.scheme_wrong",
    ),
    "private CA": (
        with_relay(
            secure=True, certificate=certificate("relay", 3340, problem="untrusted"), upgrade=None, arrived=()
        ),
        "relay.certificate_untrusted",
    ),
    "expired at the relay": (
        with_relay(
            secure=True, certificate=certificate("relay", 3340, problem="expired"), upgrade=None, arrived=()
        ),
        "relay.certificate_expired",
    ),
    "another name at the relay": (
        with_relay(
            secure=True,
            certificate=certificate("relay", 3340, problem="wrong name"),
            upgrade=None,
            arrived=(),
        ),
        "relay.certificate_wrong_name",
    ),
    "Upgrade is dropped": (not_admitted(400, "nginx/1.22"), "relay.proxy_drops_upgrade"),
    "a page for the upgrade": (not_admitted(200), "relay.proxy_drops_upgrade"),
    "HTTP/1.0 upstream": (
        not_admitted(101, "nginx/1.22", closed_after_101=True, words="closed"),
        "relay.proxy_http_1_0",
    ),
    "HTTP/1.0 upstream, 502": (not_admitted(502, "nginx/1.22"), "relay.proxy_http_1_0"),
    "HTTP/2 alone": (
        with_relay(upgrade=HttpLook(is_http2=True), page=HttpLook(), ping=None, admits_035=False, arrived=()),
        "relay.proxy_http2_only",
    ),
    "dead upstream": (
        not_admitted(502, "nginx/1.22", page=HttpLook(502, "nginx/1.22"), ping=502),
        "relay.upstream_dead",
    ),
    "a web server": (
        not_admitted(404, "nginx/1.22", page=HttpLook(200, "nginx/1.22"), ping=404),
        "relay.no_relay_there",
    ),
    "no HTTP": (not_admitted(None, page=HttpLook(words="garbage"), ping=None), "relay.no_relay_there"),
    "iroh-relay 1.0": (not_admitted(400, admits_v1=True), "relay.generation_too_new"),
    "chosen nodes": (
        not_admitted(101, closed_after_101=True, words="the relay closed; it said: not authenticated"),
        "relay.access_restricted",
    ),
    "cut off when quiet": (
        with_relay(upgrade=HttpLook(101, "nginx"), quiet_s=3.1, ended_when_quiet=True),
        "relay.proxy_times_out",
    ),
    "relay hangs": (
        with_relay(upgrade=HttpLook(silent=True), page=None, ping=None, admits_035=None, arrived=()),
        "relay.does_not_forward",
    ),
    "proxy leads elsewhere": (not_admitted(502, "nginx/1.22", relay_path=502), "relay.upstream_dead"),
    "no frame arrives": (with_relay(arrived=(), lost=(64, 1201, 14000)), "relay.does_not_forward"),
    "no ping is answered": (not_admitted(101, words="waited 3 s"), "relay.does_not_forward"),
    "large frames": (with_relay(arrived=(64,), lost=(1201, 14000)), "relay.limits_size"),
}
LIGHTER = {
    "turns unusable": (
        replace(with_mail(turns="", turns_problem="it has no colon"), turns=None),
        "metadata.turn_unusable",
        Weight.NOTE,
    ),
    "turns of somebody else": (
        replace(
            HEALTHY,
            turns_name=replace(NAME, name="x.example", addresses=(OTHER,), foreign=(OTHER,)),
            turns=None,
        ),
        "turn.address_foreign",
        Weight.NOTE,
    ),
    "turns that leads nowhere": (
        replace(HEALTHY, turns_name=replace(NOWHERE, name="x.example"), turns=None),
        "turn.name_does_not_resolve",
        Weight.NOTE,
    ),
    "no TURN": (with_mail(keys=("irohrelay",), turn="", turns=""), "metadata.turn_missing", Weight.NOTE),
    "no relay": (with_mail(keys=("turn",), relay=""), "metadata.relay_missing", Weight.NOTE),
    "private peers": (with_turn(private_peers=("10.0.0.1",)), "turn.reaches_private_peers", Weight.RISK),
    "turns on UDP": (
        replace(HEALTHY, turns=TurnsLook(HOST, 3478, "refused")),
        "turn.turns_without_tls",
        Weight.NOTE,
    ),
    "turns of another name": (
        replace(
            HEALTHY, turns=TurnsLook(HOST, 5349, "open", certificate("turns", 5349, problem="wrong name"))
        ),
        "turn.turns_certificate",
        Weight.NOTE,
    ),
    "no /ping": (with_relay(ping=404), "relay.paths_missing", Weight.NOTE),
    "closed 587": (replace(HEALTHY, ports=ports(submission="refused")), "mail.port_closed", Weight.NOTE),
    "self-signed on an address": (
        replace(HEALTHY, certificates=(certificate(problem="untrusted", self_signed=True, host=ADDRESS),)),
        "mail.certificate_untrusted",
        Weight.NOTE,
    ),
}
NEVER_IN_A_LOOK = {
    "relay.proxy_drops_subprotocol": "a relay of 0.35 alone answers so as well, and that is what most servers have",
}


@pytest.mark.parametrize("case", SICK)
def test_a_sick_server_has_one_cause(case):
    look, cause = SICK[case]
    found = diagnose(look)
    assert [each.cause.name for each in found.causes] == [cause]
    assert found.is_sick
    assert cause not in found.excluded


@pytest.mark.parametrize("case", LIGHTER)
def test_what_nobody_notices_is_said_and_the_server_is_not_sick(case):
    look, cause, weight = LIGHTER[case]
    found = diagnose(look)
    assert [(each.cause.name, each.weight) for each in found.causes] == [(cause, weight)]
    assert found.is_healthy


def test_a_healthy_server_has_none_and_what_was_excluded_is_told():
    found = diagnose(HEALTHY)
    assert found.causes == ()
    assert found.is_healthy
    assert {step.state.value for step in found.steps} == {"ok"}
    assert {"turn.relay_ports_closed", "turn.secret_differs", "relay.port_closed"} <= set(found.excluded)


def test_every_cause_follows_from_some_look():
    named = {each[1] for each in (*SICK.values(), *LIGHTER.values())}
    assert named | NEVER_IN_A_LOOK.keys() == set(CATALOGUE)
    assert not named & NEVER_IN_A_LOOK.keys()


@pytest.mark.parametrize("case", [*SICK, *LIGHTER])
def test_every_cause_comes_with_measurements(case):
    [named] = diagnose((SICK | LIGHTER)[case][0]).causes
    assert named.evidence
    assert all(each.endswith((".", ")")) for each in named.evidence)


def test_absence_is_sick_where_the_server_must_have_it():
    assert diagnose(LIGHTER["no TURN"][0], must={"turn"}).is_sick
    assert diagnose(LIGHTER["no relay"][0], must={"iroh_relay"}).is_sick
    assert diagnose(LIGHTER["turns on UDP"][0], must={"turns"}).is_sick


def test_where_two_are_possible_both_are_said_with_what_tells_them_apart():
    [named] = diagnose(silent_turn(udp=UDP_SILENT, tcp=tcp("silent"))).causes
    assert [each.name for each in named.rivals] == ["turn.not_answering"]
    assert "ss -lnup" in named.tell_apart
    [elsewhere] = diagnose(refusing_turn(address="203.0.113.77")).causes
    assert elsewhere.cause.name == "turn.secret_differs"
    assert [each.name for each in elsewhere.rivals] == ["turn.clock_wrong"]


def test_a_lack_of_ipv6_here_is_no_fault_there():
    look = with_turn(
        udp=(PortLook("turn/udp", ADDRESS, 3478, "open"), PortLook("turn/udp", OTHER, 3478, "no route"))
    )
    found = diagnose(look)
    assert found.causes == ()
    assert any("this machine has no way there" in step.text for step in found.steps)


@pytest.mark.parametrize(
    "look",
    [
        replace(
            with_mail(log_in="refused", log_in_words="NO", metadata="", submission=""), given_accounts=True
        ),
        with_mail(log_in="broken", log_in_words="nothing came", metadata="", submission=""),
        with_mail(submission="refused", submission_words="550 no", idle_wakes_s=None),
        with_mail(idle_wakes_s=None),
        not_admitted(101, closed_after_101=True, words="closed"),
        refusing_turn(Allocated("refused", 403, "Forbidden")),
        before_the_log_in(),
        replace(HEALTHY, relay=None, too_slow=("the iroh relay",)),
    ],
    ids=["given account", "log-in", "SMTP", "lost mail", "relay closes", "403", "stopped early", "too slow"],
)
def test_what_cannot_be_told_is_no_cause_and_no_health(look):
    found = diagnose(look)
    assert found.causes == ()
    assert found.unknown
    assert not found.is_healthy


def test_two_faults_that_do_not_explain_each_other_are_both_said():
    look = replace(refusing_turn(), relay=relay_port("refused").relay)
    assert [each.cause.name for each in diagnose(look).causes] == ["relay.port_closed", "turn.secret_differs"]


def test_a_relay_port_that_cannot_be_seen_from_here_is_no_finding():
    found = diagnose(
        with_turn(from_outside=None, to_outside=None, outside_words="TURN relays to no peer at 127.0.0.1")
    )
    assert found.is_healthy
    assert "turn.relay_ports_closed" not in found.excluded


def test_a_relay_of_035_behind_a_proxy_is_healthy():
    found = diagnose(with_relay(admits_v1=False, without_subprotocol=True, upgrade=HttpLook(101, "nginx")))
    assert found.causes == ()


def test_a_granted_allocation_excludes_what_would_refuse_it():
    assert {"turn.secret_differs", "turn.clock_wrong"} <= set(diagnose(with_turn(first=GRANTED)).excluded)


def test_an_ipv6_that_is_dead_at_all_is_told_once():
    dead = ports(OTHER, imaps="silent", submissions="silent", submission="silent", https="silent")
    name = replace(NAME, addresses=(ADDRESS, OTHER), count=2)
    relay = replace(RELAY, ports=(*RELAY.ports, PortLook("relay", OTHER, 3340, "silent")))
    turn = replace(TURN, udp=(*TURN.udp, PortLook("turn/udp", OTHER, 3478, "silent")))
    look = replace(
        HEALTHY,
        own=(ADDRESS, OTHER),
        name=name,
        ports=(*ports(), *dead),
        relay_name=name,
        relay=relay,
        turn_name=name,
        turn=turn,
    )
    assert [each.cause.name for each in diagnose(look).causes] == ["name.address_dead"]
    of_its_own = replace(look, relay_name=replace(name, name="relay.example.org"), turn=TURN)
    assert {each.cause.name for each in diagnose(of_its_own).causes} == {
        "name.address_dead",
        "relay.address_dead",
    }


def test_a_clock_of_ours_that_nobody_keeps_is_no_fault_of_the_server():
    look = replace(with_mail(expires_in_s=-60.0), clock_ahead_s=-DAY, our_clock_is_kept=False)
    found = diagnose(look)
    assert found.causes == ()
    assert "`timedatectl set-ntp true`" in found.unknown[0]


@pytest.mark.parametrize("answer", ["undecided", "not tried", "heard"])
def test_a_call_that_says_nothing_bad_is_no_cause(answer):
    found = diagnose(replace(HEALTHY, call=CallLook(answer, "some words", 600.0)))
    assert found.causes == ()
    assert found.is_healthy is (answer != "undecided")
