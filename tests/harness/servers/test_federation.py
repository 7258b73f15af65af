"""Servers that are to mail each other: what the reference server is told, and under which domain it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.servers import reference
from harness.servers.endpoints import describe
from harness.servers.server import Place, Wants

ENDPOINTS = {
    **{"host": "203.0.113.5", "domain": "_one.example", "dialect": "chatmail"},
    **dict.fromkeys(("imaps", "imap", "submissions", "submission", "https"), 1),
}


def words(wants: Wants, name: str | None = None) -> list[str]:
    return reference._federation(Place("203.0.113.5", Path(), Path(), name=name), wants)


@pytest.mark.parametrize(("name", "domain"), [("_one.example", "_one.example"), (None, "[203.0.113.5]")])
def test_the_domain_is_the_name_of_the_place_or_its_address(name: str | None, domain: str) -> None:
    told = words(Wants(federation=True), name)
    assert told[0] == "--federation"
    assert told[told.index("--domain") + 1] == domain
    assert "--dialect" not in told


def test_mail_by_http_is_a_habit_of_madmail() -> None:
    assert words(Wants(mxdeliv=True))[:3] == ["--dialect", "madmail", "--federation"]
    assert "--domain" not in words(Wants(mxdeliv=True))


def test_who_does_not_ask_gets_no_other_servers() -> None:
    assert words(Wants()) == []
    assert describe(ENDPOINTS, "reference", frozenset()).smtp is None
    assert describe({**ENDPOINTS, "smtp": 25}, "reference", frozenset()).smtp == 25
