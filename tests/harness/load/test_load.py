"""A load: its bounds, what its results say, and small ones that really run."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from typing import Any

import pytest

from harness.doors import cli
from harness.load.counting import OnItsWay, Totals
from harness.load.plan import LoadPlan, PlanError, check_descriptors
from harness.load.records import load_seen, records_of
from harness.load.results import Carried, Complaint, LoadResults, MissingMessage, WorkerCounts
from harness.report.client_load import StepTimes
from harness.report.compare import compare
from harness.report.records import HEAD, Record, Verdict
from harness.report.terminal import render_end

FINE = LoadResults(
    True,
    2,
    2,
    30.0,
    offers=frozenset({"mail", "TURN", "iroh relay"}),
    steps=(StepTimes("mail", "submission", 7, 0, 10.0, 20.0, 30.0),),
    messages=Carried(7, 7, 0, 700, 700),
    media=Carried(100, 98, 0, 16_000, 15_680),
    frames=Carried(5, 5, 0, 500, 500),
    of_workers=(WorkerCounts(2, 2, 0.5, 7, 20.0, 30.0, ("mail: NO (1 times)",)),),
)


PLAN_OF_IT = LoadPlan(2, 2.0, 60, "load.json", {})


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    try:
        code = cli.main(["load", *words])
    except SystemExit as error:
        code = int(str(error.code))
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--domain", "chat.example"], "Name the server again with --i-own-this-server"),
        (["--domain", "chat.example", "--i-own-this-server", "other.example"], "names other.example"),
        (["--master"], "--master and --worker need a server that all machines reach"),
        (["--worker", "127.0.0.1"], "--master and --worker need a server that all machines reach"),
        (
            [
                *("--domain", "c.example", "--i-own-this-server", "c.example"),
                *("--account", "a@c.example:12345678"),
            ],
            "each client of a load makes an account of its own",
        ),
        (["--users", "0"], "--users is a number from 1 to"),
        (["--users", "99999"], "--users is a number from 1 to"),
        (["--spawn-rate", "0"], "--spawn-rate is a number"),
        (["--run-time", "5"], "and at least 30 for these clients"),
        (["--users", "20000", "--spawn-rate", "500", "--run-time", "999999"], "up to 3600"),
    ],
)
def test_a_load_that_is_not_allowed_is_refused_in_a_sentence(tmp_path, capsys, words, sentence):
    code, said = run(*words, "--out", str(tmp_path / "out"), capsys=capsys)
    assert (code, sentence in said) == (2, True), said
    assert not (tmp_path / "out").exists()


def test_more_clients_than_open_files_are_refused_with_the_number_that_fits(monkeypatch):
    allowed = [256]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (allowed[0], 1024))
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: raised.append(limits))
    with pytest.raises(PlanError, match=r"and this machine allows 1024: at most --users 149"):
        check_descriptors(1000, 1)
    assert raised == []
    check_descriptors(149, 1)
    check_descriptors(149 * 8, 8)
    assert raised == [(1022, 1024)] * 2
    allowed[0] = 1024
    check_descriptors(1, 1)
    assert len(raised) == 2, "nothing that this process was allowed is taken from it"


def test_without_locust_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    code, said = run("--out", str(tmp_path / "out"), capsys=capsys)
    assert code == 5
    assert "pip install 'dc-harness[load]'" in said


def test_results_are_read_as_they_were_written(tmp_path):
    file = tmp_path / "load.json"
    results = replace(
        FINE,
        complaints=(Complaint("mail", "it broke", 3),),
        server={"cpu_seconds": 1.0, "megabytes": 90.0},
    )
    results.write(file)
    assert LoadResults.read(file) == results
    assert [each.name for each in tmp_path.iterdir()] == ["load.json"]


def judged(**change: Any) -> dict[str, Record]:
    results = replace(FINE, **change)
    found = records_of(results, PLAN_OF_IT, run="r", target="t", began=1.0)
    return {each.check: each for each in found}


def test_lost_packets_of_calls_are_told_and_are_no_failure():
    found = judged()
    assert {each.verdict for each in found.values()} == {Verdict.PASSED}
    assert found["load.turn"].notes == (
        "2 of 100 packets of calls did not arrive: UDP may lose some, and nothing fails by it",
    )


@pytest.mark.parametrize(
    ("check", "change", "problem"),
    [
        ("load.mail", {"messages": Carried(7, 6)}, "1 of 7 messages never arrived"),
        ("load.mail", {"messages": Carried(7, 7, 2)}, "2 messages arrived more than once"),
        ("load.iroh_relay", {"frames": Carried(7, 6)}, "1 of 7 frames of the iroh relay never arrived"),
        ("load.turn", {"media": Carried(7, 7, 1)}, "1 packets of calls arrived more than once"),
        (
            "load.mail",
            {
                "steps": (StepTimes("mail", "FETCH", 9, 4, 1.0, 1.0, 1.0),),
                "complaints": (Complaint("mail", "no answer", 4), Complaint("TURN", "other", 1)),
            },
            "4 of 9 steps failed: 4 x no answer",
        ),
    ],
)
def test_what_the_server_did_wrong_is_a_sentence_at_its_service_alone(check, change, problem):
    found = judged(**change)
    assert (found.pop(check).verdict, judged(**change)[check].reason) == (Verdict.FAILED, problem)
    assert {each.verdict for each in found.values()} == {Verdict.PASSED}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"complete": False}, "the load was cut short after 30 of 60 s"),
        ({"workers": 2, "workers_lost": 1}, "1 of 2 workers ended too early"),
        ({"users_reached": 1}, "1 of 2 clients were there at the same time"),
    ],
)
def test_a_part_is_undecided_and_what_is_on_its_way_in_it_is_not_lost(change, why):
    found = judged(messages=Carried(7, 5), **change)["load.mail"]
    assert (found.verdict, found.reason) == (Verdict.UNDECIDED, f"this is a part: {why}")
    assert found.notes == ("2 of 7 messages had not arrived when it ended",)


def test_where_our_own_processes_stood_still_what_that_explains_is_not_held_against_the_server():
    missing = {"messages": Carried(7, 6), "frames": Carried(7, 6)}
    found = judged(**missing, stalled=4.1)
    assert found["load.iroh_relay"].verdict is Verdict.UNDECIDED
    assert "the clients' own processes stood still for 4.1 s" in found["load.iroh_relay"].reason
    assert found["load.mail"].verdict is Verdict.FAILED, "no client of mail gives up after 4 s"
    assert found["load.turn"].verdict is Verdict.PASSED
    assert "times are those of the clients as well" in found["load.turn"].notes[-1]
    assert judged(**missing, stalled=14.1)["load.mail"].verdict is Verdict.UNDECIDED
    assert judged(messages=Carried(7, 7, 1), stalled=14.1)["load.mail"].verdict is Verdict.FAILED
    assert judged(**missing, stalled=0.4)["load.iroh_relay"].verdict is Verdict.FAILED


def test_a_message_that_was_in_no_mailbox_is_lost_however_slow_the_clients_were():
    missing = tuple(MissingMessage(f"<load-{number}@t>", 3.0 + number, number != 2) for number in range(5))
    lost = judged(messages=Carried(7, 2), missing=missing, not_there=4, stalled=60.0)["load.mail"]
    assert lost.verdict is Verdict.FAILED
    assert lost.reason == (
        "5 of 7 messages never arrived, although each was answered with 250: <load-0@t> (3.0 s after the beginning), "
        "<load-1@t> (4.0 s after the beginning), <load-2@t> (5.0 s after the beginning), others; "
        "4 of them were in no mailbox when their clients looked at the end"
    )
    nobody_looked = judged(messages=Carried(7, 6), missing=missing[2:3], stalled=60.0)["load.mail"]
    assert nobody_looked.verdict is Verdict.UNDECIDED
    assert "nobody could look into their mailboxes" in nobody_looked.reason


def test_what_idle_did_not_tell_of_is_told():
    assert judged(untold=2)["load.mail"].notes == (
        "2 messages were in their mailboxes at the end, and IDLE had not told of them",
    )


def test_a_process_has_its_share_of_the_clients_and_no_more():
    assert LoadPlan(3000, 60.0, 120, "r", {}, workers=2).users_each == 1500
    assert LoadPlan(7, 7.0, 120, "r", {}, workers=3).users_each == 3
    assert LoadPlan(7, 7.0, 120, "r", {}).users_each == 7


def test_in_a_part_as_well_a_message_that_came_twice_is_a_failure():
    assert judged(messages=Carried(7, 5, 1), complete=False)["load.mail"].verdict is Verdict.FAILED


def test_a_server_without_turn_is_not_blamed_for_it():
    found = judged(offers=frozenset({"mail", "iroh relay"}), media=Carried())
    assert found["load.turn"].verdict is Verdict.UNSUPPORTED
    assert found["load.turn"].reason == "METADATA gives clients no TURN"


def test_what_nobody_did_is_no_pass():
    assert judged(media=Carried())["load.turn"].verdict is Verdict.UNDECIDED
    nobody = judged(media=Carried(), offers=frozenset())["load.turn"]
    assert (nobody.verdict, nobody.reason) == (
        Verdict.UNDECIDED,
        "no client could log in, and so none sent packets of calls",
    )


def test_endpoints_that_name_no_server_are_told_in_a_sentence(tmp_path, capsys):
    ready = tmp_path / "ready.json"
    ready.write_text(
        json.dumps({"endpoints": {"host": "127.0.0.1", "domain": "x.test", "dialect": "chatmail"}})
    )
    words = ("--endpoints", str(ready), "--i-own-this-server", "127.0.0.1")
    code, said = run(*words, "--out", str(tmp_path / "out"), capsys=capsys)
    assert code == 1
    assert "no verdict (the endpoints have no usable 'imaps')" in said


def test_reports_tell_of_a_load_and_two_can_be_compared():
    server = {"cpu_seconds": 3.0, "megabytes": 90.0}
    whole = replace(FINE, users_reached=300, users_wanted=300, server=server)
    head = replace(judged()["load.mail"], check=HEAD, observations=(load_seen(whole, PLAN_OF_IT),))
    text = " ".join(render_end([head, *judged().values()]).split())
    assert "300 of 300 clients, 2 more in each second, for 30 of 60 s" in text
    assert "3.0 s of CPU and 90 MB: 10 ms and 300 kB for each client" in text
    assert "mail: submission 7 0 10 20 30" in text
    assert "packets of calls 100 98 2 0 16,000 15,680" in text
    slow = judged(steps=(StepTimes("mail", "submission", 7, 0, 10.0, 20.0, 9000.0),))
    [slower] = compare(list(judged().values()), list(slow.values())).slower
    assert slower.text == "load.mail: mail: submission, p99 30 ms -> 9,000 ms"


def on_its_way(totals: Totals, *markers: str) -> None:
    for marker in markers:
        totals.on_their_way[marker] = OnItsWay(totals.began + 2, 700, f"<{marker}@b>", "a@b")


def test_a_message_is_awaited_until_it_arrives_and_a_second_arrival_is_counted():
    totals = Totals()
    on_its_way(totals, "load-1")
    arrived = totals.message_arrived("load-1")
    assert arrived is not None
    assert (arrived.message_id, arrived.recipient) == ("<load-1@b>", "a@b")
    assert totals.message_arrived("load-1") is None
    assert (totals.messages.arrived, totals.messages.doubled) == (1, 1)
    assert totals.message_arrived("load-of-somebody-else") is None
    assert totals.messages.arrived == 1


def test_a_message_that_is_found_and_then_told_of_has_arrived_once():
    totals = Totals()
    on_its_way(totals, "load-1", "load-2")
    totals.message_arrived("load-2")
    totals.message_found("load-1")
    totals.message_found("load-2")
    assert totals.as_data()["untold"] == 1
    totals.message_arrived("load-1")
    assert (totals.messages.arrived, totals.messages.doubled) == (2, 0)
    totals.message_arrived("load-1")
    assert totals.messages.doubled == 1


def test_only_what_was_answered_with_250_can_be_missing():
    totals = Totals()
    on_its_way(totals, "load-1", "load-2")
    totals.message_sent("load-2", 700)
    assert totals.missing() == [MissingMessage("<load-2@b>", 2.0, looked_for=False)]
    totals.looked.add("a@b")
    assert totals.as_data()["missing"] == [MissingMessage("<load-2@b>", 2.0, looked_for=True)]
    assert totals.as_data()["not_there"] == 1


def test_each_process_counts_what_it_did():
    totals = Totals()
    totals.came()
    totals.came()
    totals.clients -= 1
    totals.has_account("a@b")
    totals.message_sent("load-1", 700)
    totals.message_sent("load-2", 900)
    itself = WorkerCounts.of(json.loads(json.dumps(totals.as_data()))["itself"])
    assert (itself.users, itself.accounts, itself.messages_sent) == (2, 1, 2)
    assert 0 <= itself.send_seconds <= itself.seconds


def test_a_password_that_a_server_repeats_is_in_no_complaint():
    totals = Totals()
    said = totals.remember("mail", ValueError("NO log-in of a@b with hunter2-hunter2"), "hunter2-hunter2")
    assert said == "NO log-in of a@b with ..."
    assert totals.as_data()["complaints"] == [["mail", said, 1]]
