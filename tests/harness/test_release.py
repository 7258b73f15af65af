"""The sign-off is the must-list and nothing else: judged from records, of which the must-list is one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.doors.catalogue import all_checks
from harness.doors.must_file import default_list, read_must_list
from harness.report.must import KnownRed, Must, MustList
from harness.report.promises import PROMISES
from harness.report.records import Record, Verdict, read_results
from harness.report.release import Decision, State, must_list, verdict
from harness.report.run import RESULTS, Run

from .records import PASSED

DAY = 86400.0
PRIVATE, IDLE, TURN = "mail.mailboxes_are_private", "mail.idle_reports_new_mail", "turn.turn_is_offered"
MUST = MustList("must.toml", (Must("MAIL-3", (IDLE,)), Must("capability turn", (TURN,))))


def result(check: str, found: Verdict = Verdict.PASSED, **fields: object) -> Record:
    reason = "" if found is Verdict.PASSED else "it was so"
    return replace(PASSED, check=check, verdict=found, **({"reason": reason} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of_turn", "decision", "words"),
    [
        (result(TURN), Decision.OK, "2 of 2 musts hold; none is broken"),
        (result(TURN, Verdict.FAILED), Decision.NOT_OK, "1 of 2 musts hold, 1 broken"),
        (None, Decision.NO_VERDICT, "1 of 2 musts hold, 1 not judged; none is broken"),
        *(
            (result(TURN, each), Decision.NO_VERDICT, "1 of 2 musts hold, 1 not judged")
            for each in Verdict
            if each not in (Verdict.PASSED, Verdict.FAILED)
        ),
    ],
)
def test_the_must_list_decides_and_nothing_else(of_turn, decision, words):
    records = [result(IDLE), result(PRIVATE, Verdict.FAILED), *([of_turn] if of_turn else [])]
    found = verdict(records, MUST)
    assert found.decision is decision
    assert found.sentence.startswith(words)


def test_a_must_that_was_not_run_is_no_sign_off():
    found = verdict([result(IDLE, Verdict.NOT_RUN), result(TURN), result(TURN, Verdict.NOT_RUN)], MUST)
    assert found.decision is Decision.NO_VERDICT
    [missing] = found.in_state(State.NOT_JUDGED)
    assert missing.must.name == "MAIL-3"
    assert missing.reasons == (f"{IDLE}: not run: it was so",)
    assert verdict([], MUST).decision is Decision.NO_VERDICT


def test_one_broken_check_breaks_its_promise_and_one_that_cannot_be_does_not():
    must = MustList("must.toml", (Must("MAIL-4", (PRIVATE, IDLE, TURN)),))
    passed, unsupported = result(PRIVATE), result(IDLE, Verdict.UNSUPPORTED)
    assert verdict([passed, unsupported, result(TURN)], must).decision is Decision.OK
    broken = verdict([passed, unsupported, result(TURN, Verdict.FAILED)], must)
    assert broken.findings[0].reasons == (f"{TURN}: it was so",)


def test_what_a_server_cannot_have_is_asked_for_only_by_name():
    asked = MustList("must.toml", (Must("MAIL-3", (IDLE,)), Must("TURN-1", (TURN,))))
    possible = replace(asked, musts=tuple(replace(each, where_possible=True) for each in asked.musts))
    records = [result(IDLE), result(TURN, Verdict.UNSUPPORTED)]
    assert verdict(records, asked).decision is Decision.NO_VERDICT
    assert verdict(records, possible).decision is Decision.OK
    assert verdict(records, possible).sentence.startswith(
        "1 of 1 musts hold, 1 that this server does not have"
    )
    assert verdict([result(TURN, Verdict.UNSUPPORTED)], possible).decision is Decision.NO_VERDICT


def test_a_known_red_is_accepted_until_its_last_day():
    known = replace(MUST, known_reds=(KnownRed(TURN, "alice", "1970-01-02"),))
    idle, red = result(IDLE), result(TURN, Verdict.FAILED)
    accepted = verdict([idle, replace(red, time=1.9 * DAY)], known)
    assert accepted.decision is Decision.OK
    [owned] = accepted.in_state(State.KNOWN_RED)
    assert owned.reasons == (f"{TURN}: it was so (alice answers for it until 1970-01-02)",)
    expired = verdict([idle, replace(red, time=2.1 * DAY)], known)
    assert expired.decision is Decision.NOT_OK
    assert "which has passed" in expired.findings[1].reasons[0]


def test_what_a_known_red_explains_is_known_too():
    known = replace(MUST, known_reds=(KnownRed(PRIVATE, "alice", "1970-01-02"),))
    hidden = result(TURN, Verdict.NOT_REACHED, because_of=PRIVATE)
    assert verdict([result(IDLE), hidden], known).decision is Decision.OK
    assert verdict([result(IDLE), hidden], MUST).decision is Decision.NO_VERDICT


def test_a_known_red_that_passes_can_be_taken_off():
    known = KnownRed(TURN, "alice", "1970-01-02")
    assert verdict([result(IDLE), result(TURN)], replace(MUST, known_reds=(known,))).healed == (known,)


def test_the_must_list_is_in_the_run_itself(tmp_path):
    run = Run(tmp_path / "run")
    run.begin(replace(MUST, known_reds=(KnownRed(TURN, "alice", "2026-12-31", "no certificate yet"),)))
    assert must_list(read_results(run.directory / RESULTS).records) == must_list(run.records)
    assert must_list([PASSED]) is None


def test_by_default_everything_is_asked_for():
    everything = default_list(all_checks())
    assert {each.name for each in everything.musts} >= PROMISES.keys()
    assert all(each.checks for each in everything.musts)
    named = {name for each in everything.musts for name in each.checks}
    assert named == {each.name for each in all_checks()}


FILE = """
["chat.example.org"]
capabilities = ["turn", "relay"]
promises = ["TURN-1*", "MAIL-3"]
checks = ["tls.*"]
[["chat.example.org".known]]
check = "turn.turns_is_offered"
owner = "alice@example.org"
expires = 2026-12-31
[default]
promises = ["DISC-1"]
"""


def test_the_file_has_a_list_for_each_server(tmp_path):
    file = tmp_path / "must.toml"
    file.write_text(FILE)
    found = read_must_list(file, "chat.example.org", all_checks())
    assert [each.name for each in found.musts] == [
        "capability turn",
        "capability relay",
        "TURN-1",
        "TURN-10",
        "TURN-11",
        "MAIL-3",
        "tls.certificates_are_trusted",
    ]
    assert found.known_reds == (KnownRed("turn.turns_is_offered", "alice@example.org", "2026-12-31"),)
    assert [each.name for each in read_must_list(file, "reference", all_checks()).musts] == ["DISC-1"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("TURN-1*", "TRUN-1"), "promises names TRUN-1, which there is not; did you mean TURN-1"),
        (("tls.*", "tls.certificate_is_trusted"), "did you mean tls.certificates_are_trusted?"),
        (('"turn", "relay"', '"tunr"'), "did you mean turn or turns?"),
        (("turns_is_offered", "turns_are_offered"), "did you mean turn.turns_is_offered"),
        (("promises", "promise"), "promise is no known key; did you mean promises?"),
        (("2026-12-31", '"soon"'), "number 1, expires must be a date such as 2026-12-31"),
        (('"alice@example.org"', '" "'), "somebody has to answer for it"),
        (("owner", "owned"), "owner is missing"),
        (('promises = ["DISC-1"]', ""), "asks for nothing"),
        (
            ('[default]\npromises = ["DISC-1"]', "[chat2.example]\n"),
            'a name with dots is in quotes, as in ["chat.example.org"]',
        ),
        (
            ('[default]\npromises = ["DISC-1"]', ""),
            "no table for chat9.example.org, and no [default]; did you mean chat.example.org?",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_sentence(tmp_path, change, sentence):
    file = tmp_path / "must.toml"
    file.write_text(FILE.replace(*change))
    with pytest.raises(ValueError, match=r"must\.toml") as refused:
        read_must_list(file, "chat9.example.org", all_checks())
    assert sentence in str(refused.value)
