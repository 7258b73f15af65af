"""How far a run came, from its records alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.doors.exit_codes import UNDECIDED, exit_code
from harness.report.ending import RunEnded
from harness.report.junit import render_junit
from harness.report.markdown import render_markdown
from harness.report.plan import checks, how_far
from harness.report.records import Verdict, read_results
from harness.report.run import RESULTS, Run
from harness.report.terminal import render_end

from .records import FAILED, HEAD_OF_RUN, PASSED

NAMES = ("mail.idle", "mail.policy", "mail.late")
PLAN = [
    replace(PASSED, check=name, verdict=Verdict.NOT_RUN, reason="the run did not come to it")
    for name in NAMES
]
INTERRUPTED = replace(HEAD_OF_RUN, observations=(RunEnded(12.0, "SIGTERM"),))
RENDERERS = [
    render_end,
    lambda records: render_markdown("r", records),
    lambda records: render_junit("r", records),
]


def test_each_verdict_takes_the_place_of_its_plan():
    late = replace(PASSED, check="mail.late")
    found = checks([*PLAN, HEAD_OF_RUN, late, PASSED])
    assert [(each.check, each.verdict) for each in found] == [
        ("mail.idle", Verdict.PASSED),
        ("mail.policy", Verdict.NOT_RUN),
        ("mail.late", Verdict.PASSED),
    ]


def test_a_suite_may_run_one_check_several_times():
    assert checks([PASSED, replace(PASSED, duration=9.0)]) == [PASSED, replace(PASSED, duration=9.0)]


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([*PLAN, PASSED, FAILED, replace(PASSED, check="mail.late")], ""),
        ([*PLAN, PASSED, INTERRUPTED], "interrupted after 1 of 3: no verdict (SIGTERM)"),
        ([*PLAN, PASSED, FAILED, replace(PASSED, check="mail.late"), INTERRUPTED], ""),
        ([PASSED, INTERRUPTED], "interrupted after 1 check: no verdict (SIGTERM)"),
        ([*PLAN, PASSED], "not ended, or killed, after 1 of 3: no verdict"),
        ([HEAD_OF_RUN], "no check has a result: no verdict"),
        ([], "no check has a result: no verdict"),
    ],
)
def test_how_far_it_came(records, sentence):
    assert how_far(records) == sentence
    for render in RENDERERS:
        assert ("no verdict" in render(records)) is bool(sentence)


def test_a_check_that_was_not_run_is_no_pass():
    assert exit_code([Verdict.PASSED, Verdict.NOT_RUN]) == UNDECIDED
    assert 'errors="1"' in render_junit("r", [PLAN[0], PASSED, PLAN[1]])


def test_the_plan_is_in_the_file_before_anything_runs(tmp_path):
    run = Run(tmp_path / "run")
    run.plan([("mail.idle", ("MAIL-3",)), ("mail.policy", ())], target="chat.example.org")
    found = read_results(run.directory / RESULTS).records
    assert [(each.check, each.verdict, each.requirements) for each in found] == [
        ("mail.idle", Verdict.NOT_RUN, ("MAIL-3",)),
        ("mail.policy", Verdict.NOT_RUN, ()),
    ]
