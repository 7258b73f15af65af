from __future__ import annotations

import dataclasses
import re

import pytest

from harness.calls.balance import Count, account, carried_by_sender, carried_since, path_of
from harness.calls.peers import SelectedPair, Stats, Traffic
from harness.clients.control import ServiceLedger
from harness.clients.turn.ledger import PeerAccount, TurnAllocation


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


def an_allocation(number: int, relayed: str, *, to_peer: int = 0, to_client: int = 0) -> TurnAllocation:
    """Half of the packets are DTLS, with another peer; connectivity checks, which no account has, are many."""

    def counted(packets: int, dtls: int, rtp: int) -> list[dict[str, Count]]:
        half = packets // 2
        return [{"stun": Count(1000, 88_000), "dtls": Count(half, dtls)}, {"rtp": Count(half, rtp)}]

    up, down = counted(to_peer, 10, 20), counted(to_client, 30, 40)
    return TurnAllocation(
        number,
        transport="udp",
        client="127.0.0.1:9",
        server="127.0.0.1:3478",
        username="1790086400",
        relayed=(relayed,),
        opened=1.0,
        closed=None,
        reason=None,
        control_in=Count(0, 0),
        control_out=Count(0, 0),
        peers=tuple(PeerAccount(f"127.0.0.1:{n}", None, up[n], down[n]) for n in range(2)),
        drops={},
    )


def a_ledger(*allocations: TurnAllocation) -> ServiceLedger:
    return ServiceLedger("turn", True, 0.0, (), (), (), complete=True, allocations=allocations)


def through(local: str, remote: str, port: int) -> Stats:
    used = SelectedPair(local, ("127.0.0.1", port), remote, ("127.0.0.1", 7))
    return dataclasses.replace(stats(500, 500), pair=used)


OLD = an_allocation(1, "127.0.0.1:1001", to_peer=8)
"""Of an earlier call that had the same port."""


def test_between_two_allocations_each_side_has_what_it_sent():
    ledger = a_ledger(
        OLD,
        an_allocation(2, "127.0.0.1:1001", to_peer=500, to_client=400),
        an_allocation(3, "127.0.0.1:1002", to_peer=400, to_client=500),
    )
    sides = {"alice": through("relay", "relay", 1001), "bob": through("relay", "relay", 1002)}
    assert carried_by_sender(ledger, sides) == {"alice": Count(500, 30), "bob": Count(400, 30)}


def test_a_side_without_an_allocation_sends_to_that_of_the_other():
    ledger = a_ledger(OLD, an_allocation(2, "127.0.0.1:1001", to_peer=500, to_client=400))
    sides = {"alice": through("relay", "host", 1001), "bob": through("host", "relay", 1002)}
    assert carried_by_sender(ledger, sides) == {"alice": Count(500, 30), "bob": Count(400, 70)}


def test_of_a_direct_call_nothing_is_carried_by_a_side():
    sides = {"alice": through("host", "host", 1001), "bob": stats(1, 1)}
    assert carried_by_sender(a_ledger(OLD), sides) == {}


def test_what_was_carried_since_a_moment():
    new = an_allocation(2, "127.0.0.1:1001", to_peer=2, to_client=4)
    known, later = a_ledger(OLD), a_ledger(OLD, new)
    assert carried_since(known, later) == Count(6, 100)
    assert carried_since(later, later) == Count(0, 0)
