"""Promises in plain words: each has them, the page has them all, and some check proves each."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.doors.catalogue import all_checks
from harness.report.promises import PROMISES
from harness.report.promises_page import SECTIONS, render
from harness.report.standing import GROUPS

PAGE = Path(harness.__file__).parent.parent / "docs" / "promises.md"


def test_the_page_is_made_of_the_promises():
    assert PAGE.read_text() == render(), "python -m harness.report.promises_page > docs/promises.md"
    headings = [
        line.removeprefix("### ") for line in PAGE.read_text().splitlines() if line.startswith("### ")
    ]
    assert headings == list(PROMISES)
    assert len(headings) == 47


def test_every_promise_has_a_group():
    assert {name.partition("-")[0] for name in PROMISES} == set(GROUPS) == set(SECTIONS)


@pytest.mark.parametrize("name", PROMISES)
def test_each_is_a_sentence_and_says_what_it_is_good_for(name):
    promise = PROMISES[name]
    for words in (promise.sentence, promise.meaning):
        assert words == " ".join(words.split())
        assert words.endswith(".")
    assert len(promise.meaning) > len(promise.sentence)


def test_some_check_proves_each_promise_and_no_other():
    assert {name for check in all_checks() for name in check.requirements} == set(PROMISES)
