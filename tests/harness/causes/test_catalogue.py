"""The catalogue of causes: whole, in words for people, and the same everywhere."""

import ast
import fnmatch
import re
from pathlib import Path

import pytest

import harness
from harness.causes.catalogue import CATALOGUE
from harness.causes.page import SECTIONS, render
from harness.doors.catalogue import all_checks

ROOT = Path(harness.__file__).parent.parent
PAGE = ROOT / "docs" / "causes.md"
PLACES = {"madmail", "chatmail relay", "coturn", "nginx", "iroh-relay", "firewall", "dns", "anywhere"}
CHECKS = {check.name for check in all_checks()}


def test_the_page_is_made_of_the_catalogue():
    assert PAGE.read_text() == render(), "python -m harness.causes.page > docs/causes.md"


def test_the_page_has_every_cause():
    assert {name.partition(".")[0] for name in CATALOGUE} == set(SECTIONS)
    assert set(re.findall(r"^### (\S+)$", PAGE.read_text(), re.MULTILINE)) == set(CATALOGUE)


@pytest.mark.parametrize("cause", CATALOGUE.values(), ids=list(CATALOGUE))
def test_each_says_what_is_wrong_why_and_what_to_do(cause):
    for sentence in (cause.sentence, cause.sure, cause.harm, *cause.change.values()):
        assert sentence == " ".join(sentence.split())
        assert sentence.endswith((".", ")", "}", "`", "?")), sentence
    assert cause.change, "an operator must have something to do"
    assert set(cause.change) <= PLACES


@pytest.mark.parametrize("cause", CATALOGUE.values(), ids=list(CATALOGUE))
def test_each_explains_checks_that_exist(cause):
    for pattern in cause.explains:
        assert fnmatch.filter(CHECKS, pattern), pattern


def test_every_cause_that_the_harness_names_exists():
    named = {
        keyword.value.value
        for file in (ROOT / "harness").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "cause"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
        and keyword.value.value
    }
    assert named <= set(CATALOGUE)
