"""Results of a matrix: who is to blame, what several tries say, controls, known reds, and shards that were lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.report.cells import ExpectedRed, Part, Shard
from harness.report.interop import Blame, Decision, State, interop
from harness.report.intervals import wilson
from harness.report.records import Verdict

from .parts import NEW, OLD, PLAN, cell, head, result

FAILED, PASSED = Verdict.FAILED, Verdict.PASSED
CONTROL = replace(cell("wrong", NEW), part=Part.MUTANT, must_be_red="401")


def found_of(*records, first=None):
    found = interop([first or head(), *records])
    assert found is not None
    return found


def place_of(found, name: str):
    [place] = [each for each in found.places if each.cell.name == name]
    return place


@pytest.mark.parametrize(
    ("on_reference", "with_reference", "state", "blame", "words"),
    [
        (
            PASSED,
            FAILED,
            State.FAILED,
            Blame.SERVER,
            "the same clients pass on reference, fails with every client",
        ),
        (
            FAILED,
            PASSED,
            State.FAILED,
            Blame.CLIENTS,
            "passes with 2.65.0 on both sides, fails on every server",
        ),
        (PASSED, PASSED, State.FAILED, Blame.COMBINATION, "passes on reference, and with 2.65.0"),
        (
            FAILED,
            FAILED,
            State.UNBLAMED,
            Blame.NOBODY,
            "failed on reference, failed with 2.65.0 on both sides",
        ),
        (None, None, State.UNBLAMED, Blame.NOBODY, "not run on reference, not run with 2.65.0 on both sides"),
    ],
)
def test_a_failure_is_blamed_on_the_side_whose_reference_passes(
    on_reference, with_reference, state, blame, words
):
    beside = [(cell("reference", OLD), on_reference), (cell("madmail", NEW), with_reference)]
    others = [result(replace(where, part=Part.BLAME), verdict) for where, verdict in beside if verdict]
    place = place_of(found_of(result(cell("madmail", OLD), FAILED), *others), cell("madmail", OLD).name)
    assert (place.state, place.blame) == (state, blame)
    assert words in place.why


def test_the_references_themselves_can_blame_nobody():
    place = place_of(found_of(result(cell("reference", NEW), FAILED)), cell("reference", NEW).name)
    assert (place.state, place.blame) == (State.UNBLAMED, Blame.NOBODY)
    assert "these are the references themselves" in place.why


def test_a_server_that_does_not_start_is_to_blame():
    broken = replace(result(cell(), FAILED, "madmail ended with exit code 1"), duration=0.0, evidence=())
    place = place_of(found_of(broken), cell().name)
    assert (place.state, place.blame, place.href) == (State.FAILED, Blame.SERVER, "")


def test_every_try_counts_and_one_failure_is_a_failure():
    tries = [result(cell(attempt=number), FAILED if number in (3, 9) else PASSED) for number in range(1, 21)]
    beside = result(replace(cell("reference"), part=Part.BLAME))
    [place] = found_of(*tries, beside).places
    assert place.state is State.FAILED
    assert place.share == "18 of 20 (70-97 %)"


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.278), (2, 20, 0.028, 0.301), (10, 10, 0.722, 1)],
)
def test_intervals_are_wilsons(hits, tries, low, high):
    """The values are those of R's `binom::binom.wilson`."""
    assert wilson(hits, tries) == pytest.approx((low, high), abs=0.0006)


def test_what_is_not_judged_or_not_run_is_no_verdict():
    for verdict in (Verdict.UNDECIDED, Verdict.NOT_RUN, Verdict.NOT_REACHED):
        found = found_of(result(cell(cores=OLD)), result(cell(), verdict))
        assert found.decision is Decision.NO_VERDICT
    assert found_of(result(cell())).decision is Decision.OK
    assert found_of(result(cell()), result(cell(cores=OLD), Verdict.UNSUPPORTED)).decision is Decision.OK


def test_a_must_that_is_unsupported_is_no_verdict():
    first = replace(head(), observations=(replace(PLAN, must=("call",)),))
    found = found_of(result(cell()), result(cell(cores=OLD), Verdict.UNSUPPORTED), first=first)
    assert found.decision is Decision.NO_VERDICT
    assert "of those that must pass, 1 of 2 were not shown to" in found.sentence


def test_a_control_that_is_wrong_makes_the_matrix_wrong():
    found = found_of(result(cell()), result(CONTROL, FAILED, "must be failed, and is passed"))
    assert (found.decision, found.controls[0].state) == (Decision.NOT_OK, State.FAILED)
    assert "1 control is wrong, so no other result can be believed" in found.sentence
    assert found_of(result(cell()), result(CONTROL, Verdict.NOT_RUN)).decision is Decision.NO_VERDICT
    right = found_of(result(cell()), result(CONTROL))
    assert (right.decision, right.count(State.PASSED)) == (Decision.OK, 1)


@pytest.mark.parametrize(
    ("expires", "state"), [("2027-01-15", State.KNOWN_RED), ("2027-01-14", State.FAILED)]
)
def test_a_known_red_is_accepted_until_its_day(expires, state):
    """The records are of 15 January 2027."""
    known = ExpectedRed("call", "alice@example.org", expires, server="madmail")
    records = [result(cell(), FAILED), result(cell("reference")), result(cell(cores=OLD))]
    found = found_of(*records, first=head("r", None, known))
    place = place_of(found, cell().name)
    assert place.state is state
    assert "alice@example.org" in place.why
    assert found.decision is (Decision.OK if state is State.KNOWN_RED else Decision.NOT_OK)


def test_a_known_red_that_is_red_nowhere_is_told():
    known = ExpectedRed("call", "alice@example.org", "2027-01-15", client="2.20.0")
    assert found_of(result(cell(cores=OLD)), first=head("r", None, known)).healed == (known,)
    assert found_of(result(cell()), first=head("r", None, known)).healed == ()


def test_shards_add_up_and_a_lost_one_leaves_its_cells():
    one, two = cell(), cell(cores=OLD)

    def shard(number: int, *verdicts: Verdict):
        run = f"shard-{number}"
        planned = [result(each, Verdict.NOT_RUN, run=run) for each in (one, two)]
        ran = [
            result(each, verdict, run=run)
            for each, verdict in zip((one, two)[number - 1 :], verdicts, strict=False)
        ]
        return [head(run, Shard(number, 2)), *planned, *ran]

    both = interop([*shard(1, PASSED), *shard(2, PASSED)])
    assert both is not None and both.decision is Decision.OK and both.missing_shards == ()
    assert [each.state for each in both.places] == [State.PASSED, State.PASSED]
    lost = interop(shard(1, PASSED))
    assert lost is not None and lost.decision is Decision.NO_VERDICT and lost.missing_shards == (2,)
    assert [each.state for each in lost.places] == [State.PASSED, State.NOT_RUN]


def test_records_of_a_single_server_are_no_matrix():
    assert interop([replace(head(), observations=())]) is None
