"""The options that all doors share: which server, whose accounts, how much harm."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import pytest

from harness.accounts import Credentials, FirstLogin, GivenAccounts
from harness.clients.mail.web import WebAccounts
from harness.hosts import LocalHost, MissingCapability
from harness.report.findings import accounts_left
from harness.report.observations import AccountsLeft
from harness.report.records import Verdict
from harness.servers.remote import remote_target
from harness.stage.check import check, recording
from harness.stage.options import Choice, add_options
from harness.stage.outcome import Outcome
from harness.stage.stage import Stage
from harness.target import Impact, Target

from .stages import stage_with

HOST = LocalHost()


def read(*arguments: str, domain: str | None = None) -> Choice:
    parser = argparse.ArgumentParser()
    add_options(parser.add_argument, domain=domain)
    return Choice.read(vars(parser.parse_args(arguments)).get)


def test_without_options_the_embedded_server_is_tested():
    choice = read()
    assert not choice.is_remote
    assert choice.title == "the embedded reference server"


def test_the_embedded_server_can_be_insisted_on():
    assert not read("--target", "embedded", domain="mail.example.org").is_remote
    assert read(domain="mail.example.org").is_remote


def test_a_ready_line_describes_the_server(tmp_path):
    file = tmp_path / "ready.json"
    file.write_text(
        json.dumps({"ready": True, "endpoints": {"host": "127.77.1.2", "domain": "chatmail.test"}})
    )
    choice = read("--endpoints", str(file))
    assert (choice.is_remote, choice.title) == (True, "127.77.1.2")
    assert read("--endpoints", str(file), "--i-own-this-server", "chatmail.test").impact is Impact.HARMFUL


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "remote"], "needs --domain HOST or --endpoints FILE"),
        (["--domain", "a.example", "--endpoints", "/dev/null"], "name one"),
        (["--endpoints", "/dev/null"], "no ready line"),
        (["--endpoints", "/nowhere/ready.json"], "no such file"),
        (
            ["--domain", "a.example", "--i-own-this-server", "b.example"],
            "names b.example, but .* is a.example",
        ),
        (["--i-own-this-server", "b.example"], "the embedded reference server"),
        (["--account", "alice@a.example"], "USER@DOMAIN:PASSWORD"),
        (["--account", "alice@a.example:short"], "fewer than 8"),
        (["--ca-file", "/nowhere/ca.pem"], "no such file"),
        (["--ca-file", "/etc"], "is a directory"),
        (["--ca-file", __file__], "has no certificate in PEM"),
        (["--rpc-server", "/nowhere/core"], "no program that can be run"),
        (["--rpc-server", __file__], "no program that can be run"),
        (["--rpc-server", "no-such-core"], "no program that can be run"),
        (["--core", "old"], "no version of core"),
        (["--pair", "home:hom"], "did you mean home"),
        (["--second-server", "coturn"], "coturn has no mail: put a server that has before it"),
        (
            ["--second-server", "madmail", "--domain", "a.example"],
            "only a server that we start gets a second one",
        ),
        (["--networks", "home,mobil"], "did you mean mobile"),
        (["--networks", ""], "there is no network ''; there are 'public', "),
        (["--networks", "home", "--domain", "a.example"], "only --uplink real leads to a server elsewhere"),
        (["--server", "mutant"], "mutant lacks its name"),
        (["--server", "coturn"], r"coturn has no mail: .* reference\+coturn"),
        (["--server", "coturnn"], "did you mean coturn"),
        (["--server", "reference", "--domain", "a.example"], "name one"),
        (["--domain", ""], "is no server: it must be a name like"),
        (["--domain", "https://a.example/"], "without scheme, port or path"),
        (["--domain", "a.example:993"], "without scheme, port or path"),
        (["--domain", "[::1"], "is no server"),
        (["--domain", "999.1.1.1"], "is no server"),
        (["--domain", "203.0.113"], "is no server"),
        (["--domain", "1234"], "is no server"),
        (["--domain", "0x7f000001"], "is no server"),
        (["--domain", "bücher.example"], "in DNS that one is xn--bcher-kva.example"),
        (
            ["--domain", "a.example", "--also-ours", "https://b.example/"],
            "--also-ours 'https://b.example/' is no",
        ),
        (["--domain", "a.example", "--also-ours", "b.example:3478"], "without scheme, port or path"),
        (["--domain", "a.example", "--i-own-this-server", "b.example"], "names b.example, but the server"),
        (["--must", "turn,dns"], "there is no dns; there are turn, turns, relay"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(*arguments)


@pytest.mark.parametrize("written", ["Mail.Example.org.", "mail.example.org", "[IPv6:2001:DB8:0::5]"])
def test_the_caller_owns_the_server_however_it_is_written(written):
    domain = "2001:db8::5" if written.startswith("[") else "mail.example.ORG"
    assert read("--domain", domain, "--i-own-this-server", written).impact is Impact.HARMFUL


@pytest.mark.parametrize(
    ("text", "host", "domain"),
    [
        ("Mail.Example.Org.", "mail.example.org", "mail.example.org"),
        ("203.0.113.5", "203.0.113.5", "[203.0.113.5]"),
        ("2001:db8::5", "2001:db8::5", "[IPv6:2001:db8::5]"),
        ("[2001:db8::5]", "2001:db8::5", "[IPv6:2001:db8::5]"),
    ],
)
def test_a_server_is_named_as_people_write_it(text, host, domain):
    target = remote_target(text)
    assert (target.host, target.domain) == (host, domain)


def test_scripts_that_pass_no_options_accept_what_signs_itself_by_environment(monkeypatch):
    assert not read("--domain", "a.example").accept_self_signed
    monkeypatch.setenv("DC_HARNESS_ACCEPT_SELF_SIGNED", "1")
    assert read("--domain", "a.example").accept_self_signed


def test_networks_are_every_pair_of_them_beside_the_pairs_that_are_named():
    choice = read("--networks", "home,Mobile", "--networks", "home", "--pair", "symmetric:home")
    assert [str(each) for each in choice.pairs] == [
        *("symmetric with home", "mobile with mobile", "mobile with home", "home with home"),
    ]


def test_a_second_server_may_be_of_another_kind():
    assert read().second is None
    second = read("--server", "reference", "--second-server", "madmail=/opt/madmail").second
    assert second is not None
    assert second.name == "madmail"


def test_a_remote_server_is_spared():
    assert read("--domain", "a.example").impact is Impact.LIVE_SAFE
    assert read("--domain", "a.example", "--impact", "leaves_traces").impact is Impact.LEAVES_TRACES
    assert read("--domain", "a.example", "--i-own-this-server", "a.example").impact is Impact.HARMFUL


def test_given_accounts_are_shared_out_among_workers():
    names = ["a@x.example", "b@x.example", "c@x.example"]
    choice = read(*[word for name in names for word in ("--account", f"{name}:geheim:geheim")])
    parts = [choice.for_worker(number, 2).given for number in range(2)]
    assert [[each.address for each in part or ()] for part in parts] == [[names[0], names[2]], [names[1]]]
    assert choice.given is not None
    assert choice.given[0].password == "geheim:geheim"
    nobody = choice.for_worker(5, 6)
    with pytest.raises(MissingCapability, match="more than the 0 that were given"):
        nobody.prepare(a_target(), HOST).new_account()


def a_target(**changes) -> Target:
    target = Target("t", "127.0.0.1", "x.example", 1, 1, 1, 1, 1, ca_file=None, dialect="chatmail")
    return replace(target, **changes)


def test_accounts_come_from_where_the_caller_said():
    assert isinstance(read().prepare(a_target(), HOST).accounts, FirstLogin)
    assert isinstance(read("--accounts", "new").prepare(a_target(), HOST).accounts, WebAccounts)
    given = read("--accounts", "new", "--account", "a@x.example:geheim-geheim").prepare(a_target(), HOST)
    assert given.new_account() == Credentials("a@x.example", "geheim-geheim")


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Runs a check on a target, and gives its record; checks that a test makes are forgotten with it."""
    monkeypatch.setattr("harness.stage.check.CHECKS", {})
    return lambda function, target: record_of(function, stage_with(target, tmp_path))


def record_of(function, stage):
    records = []
    with recording(lambda record, _files: records.append(record), run="r", door="d"):
        function(stage)
    [record] = records
    return record


@pytest.mark.parametrize(
    ("impact", "allowed", "words"),
    [
        (Impact.LIVE_SAFE, Impact.LIVE_SAFE, None),
        (Impact.LEAVES_TRACES, Impact.LIVE_SAFE, "only with --impact leaves_traces"),
        (Impact.LEAVES_TRACES, Impact.LEAVES_TRACES, None),
        (Impact.HARMFUL, Impact.LEAVES_TRACES, "only with --i-own-this-server t"),
        (Impact.HARMFUL, Impact.HARMFUL, None),
    ],
)
def test_a_check_runs_only_where_its_impact_is_allowed(recorded, impact, allowed, words):
    runs = []

    @check("X-1", impact=impact)
    def probe(stage: Stage, outcome: Outcome) -> None:
        """Runs."""
        runs.append(stage.target)

    record = recorded(probe, a_target(impact=allowed))
    assert (record.verdict is Verdict.SKIPPED) == bool(words)
    assert bool(runs) == (words is None)
    assert words is None or words in record.reason


def test_accounts_are_counted_and_given_ones_run_out(recorded):
    @check("X-1")
    def two_accounts(stage: Stage, outcome: Outcome) -> None:
        """Uses two."""
        stage.target.new_account()
        stage.target.new_account()

    made = recorded(two_accounts, a_target(is_ours=False))
    assert made.observations == (AccountsLeft(2),)
    assert accounts_left([made, made]) == "up to 4 accounts were left on t"
    assert recorded(two_accounts, a_target()).observations == ()
    one = [Credentials("a@x.example", "geheim-geheim")]
    short = recorded(two_accounts, a_target(is_ours=False, accounts=GivenAccounts(one)))
    assert short.verdict is Verdict.SKIPPED
    assert "capability accounts: this check needs more than the 1" in short.reason
    enough = a_target(is_ours=False, accounts=GivenAccounts(one * 2))
    for _again in range(2):
        record = recorded(two_accounts, enough)
        assert (record.verdict, record.observations) == (Verdict.PASSED, (AccountsLeft(0),))
    assert accounts_left([record]) == ""


def test_looking_around_uses_no_given_account_up():
    target = a_target(accounts=GivenAccounts([Credentials("a@x.example", "geheim-geheim")]))
    assert target.any_account() == target.any_account() == target.new_account()


def test_the_uplink_into_this_machines_network_is_refused_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(
        ValueError, match="--uplink real lets packets of a lab out of this machine: not in CI"
    ):
        read("--uplink", "real", "--domain", "mail.example.org")


def test_an_uplink_leads_to_a_server_that_runs_elsewhere(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(
        ValueError, match="--uplink is for a server that runs elsewhere: name it with --domain"
    ):
        read("--uplink", "real")
    assert read("--domain", "mail.example.org").uplink is None


def test_without_an_uplink_the_reason_names_it(tmp_path):
    stage = stage_with(remote_target("mail.example.org"), tmp_path)
    assert "--uplink real lets devices in a lab reach it" in stage.explain_missing("lab")
