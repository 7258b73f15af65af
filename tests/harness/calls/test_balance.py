from __future__ import annotations

import re

import pytest

from harness.calls.agent import SelectedPair, Stats, Traffic
from harness.calls.balance import Count, account, path_of


def stats(sent: int, received: int) -> Stats:
    return Stats(
        Traffic(sent, sent * 200, received, received * 200), None, "completed", "connected", {}, 0, 0, True
    )


def pair(local: str, remote: str) -> SelectedPair:
    return SelectedPair(local, ("127.0.0.1", 1), remote, ("127.0.0.1", 2))


SIDES = {"alice": stats(500, 400), "bob": stats(400, 497)}
CARRIED = {"alice": Count(499, 99_800), "bob": Count(403, 80_600)}


def test_an_account_that_balances_within_three_packets():
    found = account(SIDES, "relayed", CARRIED)
    assert found
    assert found.problems == []
    assert "alice to bob: 500/100000, 499/99800, 497/99400" in str(found)


def test_without_a_ledger_the_two_sides_are_compared():
    found = account(SIDES, "relayed")
    assert found
    assert "no ledger" in str(found)


@pytest.mark.parametrize(
    ("sides", "carried", "path", "words"),
    [
        (SIDES | {"bob": stats(400, 496)}, CARRIED, "relayed", "500 packets were sent and 496 arrived"),
        (
            SIDES,
            CARRIED | {"alice": Count(475, 1)},
            "relayed",
            "500 packets were sent and the server carried 475",
        ),
        (SIDES, {"alice": CARRIED["alice"]}, "relayed", "from bob to alice 400 .* the server carried 0"),
        (SIDES, CARRIED, "direct", "the call is direct, but the server carried 99800 bytes"),
        ({"alice": stats(0, 0), "bob": stats(0, 0)}, None, "direct", "nothing was sent"),
    ],
)
def test_an_account_that_does_not_balance_says_where(sides, carried, path, words):
    found = account(sides, path, carried)
    assert not found
    assert any(re.search(words, each) for each in found.problems)


def test_a_direct_call_may_leave_a_few_checks_at_the_server():
    assert account(SIDES, "direct", {"alice": Count(3, 264)})


def test_one_leg_is_enough_to_be_relayed():
    assert path_of([pair("relay", "relay"), pair("relay", "relay")]) == "relayed"
    assert path_of([pair("host", "relay"), pair("relay", "srflx")]) == "relayed"
    assert path_of([pair("host", "srflx"), pair("host", "host")]) == "direct"
    assert path_of([pair("relay", "relay"), None]) == "none"
