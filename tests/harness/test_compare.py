"""Two runs compared: what broke, healed, is new or gone, and which times are longer, with both machines' load."""

from __future__ import annotations

from dataclasses import replace

from harness.report.compare import compare
from harness.report.ending import RunEnded
from harness.report.html import render_html
from harness.report.markdown import render_markdown
from harness.report.observations import CallPhases, CallSeen, Measured, Timing
from harness.report.records import Verdict

from .records import EVERYTHING, FAILED, HEAD_OF_RUN, PASSED, SKIPPED, UNDECIDED


def named(name, record):
    return replace(record, check=name)


def ended(load: float):
    return replace(HEAD_OF_RUN, observations=(RunEnded(9.0, cores=2, load=load),))


def test_each_change_of_a_verdict_has_its_name():
    before = [
        named("a", PASSED),
        named("b", FAILED),
        named("c", PASSED),
        named("d", PASSED),
        named("e", PASSED),
    ]
    now = [
        named("a", FAILED),
        named("b", PASSED),
        named("c", UNDECIDED),
        named("d", SKIPPED),
        named("f", PASSED),
    ]
    found = compare(before, now)
    assert (found.broken, found.healed, found.undecided) == (("a",), ("b",), ("c", "d"))
    assert (found.new, found.gone) == (("f",), ("e",))
    assert found.sentences[0] == (
        "compared with r (1 Jan 1970): 1 broken, 1 healed, 2 undecided, 1 new, 1 gone, 0 slower"
    )


def test_what_was_never_judged_did_not_break_and_what_stays_red_is_no_change():
    found = compare([named("a", FAILED), named("b", SKIPPED)], [named("a", FAILED), named("b", SKIPPED)])
    assert (found.broken, found.healed, found.undecided, found.new, found.gone) == ((), (), (), (), ())


def test_a_check_that_was_not_judged_before_and_fails_is_broken():
    assert compare([named("a", SKIPPED)], [named("a", FAILED)]).broken == ("a",)


def test_a_check_that_the_run_did_not_come_to_is_gone():
    planned = replace(PASSED, verdict=Verdict.NOT_RUN)
    assert compare([PASSED], [planned]).gone == (PASSED.check,)


def test_of_several_results_the_worst_counts():
    assert compare([PASSED, PASSED], [PASSED, FAILED, replace(FAILED, check=PASSED.check)]).broken == (
        PASSED.check,
    )


def test_longer_times_are_told_with_the_load_of_both_machines():
    def seen(first_audio, idle, count):
        call = CallSeen("relayed", CallPhases(offer_ms=40, first_audio_ms=first_audio))
        return replace(
            PASSED,
            observations=(call, Timing("EXISTS", (idle,)), Measured("mails", count), Measured("x", "y")),
        )

    found = compare([seen(310, 0.01, 5), ended(0.4)], [seen(1060, 0.02, 500), ended(6.5)])
    assert [each.text for each in found.slower] == ["mail.idle: relayed: first audio 310 ms -> 1,060 ms"]
    assert found.machines == "machines: load 0.4 on 2 cores then, load 6.5 on 2 cores now"
    assert compare([seen(1060, 0.01, 5)], [seen(310, 0.01, 5)]).slower == ()


def test_every_report_has_the_comparison():
    since = compare([replace(each, verdict=Verdict.PASSED, reason="") for each in EVERYTHING], EVERYTHING)
    assert since.broken == ("mail.policy",)
    for text in (render_html("x", EVERYTHING, since=since), render_markdown("x", EVERYTHING, since=since)):
        assert "broken: mail.policy" in text
