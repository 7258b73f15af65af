"""Text of others is cleaned before a person sees it."""

from __future__ import annotations

import pytest

from harness.report.observations import Measured
from harness.report.records import Verdict
from harness.stage.outcome import Outcome
from harness.text import as_sentence, clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ready\n\n- **all good**", "ready  - **all good**"),
        ("red \x1b[31m and \x00", "red \ufffd[31m and \ufffd"),
        ("C1 \x9b31m, bell \x07", "C1 \ufffd31m, bell \ufffd"),
        ("turned \u202egnp.exe\u2066 round", "turned \ufffdgnp.exe\ufffd round"),
        ("half \ud800 a pair", "half \ufffd a pair"),
        ("tab\there, odd\u00a0space", "tab here, odd space"),
        ("Grüße, 你好, مرحبا 🙂", "Grüße, 你好, مرحبا 🙂"),
    ],
)
def test_nothing_is_left_that_does_something_to_a_terminal(text, shown):
    assert clean(text) == shown


def test_a_server_that_never_stops_talking_is_cut_short():
    assert clean("x" * 5000, 10) == "xxxxxxxxxx ... (4990 more characters)"
    assert clean("x" * 10, 10) == "x" * 10


def test_what_a_check_says_is_clean():
    outcome = Outcome(Verdict.FAILED, ["the banner is \x1b]0;owned\x07"])
    outcome.expect(False, "it said \x1b[2J").note("and then \u202e")
    assert outcome.reason == "the banner is \ufffd]0;owned\ufffd; it said \ufffd[2J"
    assert outcome.notes == ["and then \ufffd"]


def test_a_newer_word_takes_the_place_of_the_older():
    outcome = Outcome().observe(Measured("frames", 1)).observe(Measured("bytes", 5))
    outcome.include(Outcome().observe(Measured("frames", 2)).observe(Measured("frames", 9, subject="bob")))
    assert outcome.observations == [
        Measured("frames", 2),
        Measured("bytes", 5),
        Measured("frames", 9, subject="bob"),
    ]


def test_a_sentence_keeps_names_as_they_are():
    assert (
        as_sentence("alice hears nothing through TURN at HTTP") == "Alice hears nothing through TURN at HTTP."
    )
