"""The matrix of calls: what it expects, how it is shown, and that hidden paths and false witnesses turn it red."""

from __future__ import annotations

import itertools
import sys
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

import pytest
from harness.calls.expected import expected_path
from pyroute2 import IPRoute

from harness.checks import calls_changes, calls_paths
from harness.checks.calls_paths import EVERY, Cell
from harness.network import profiles
from harness.report.call_matrix import MATRIX, MatrixCell, render_matrices, render_matrix
from harness.report.records import Record, Verdict
from harness.report.run import Run
from harness.servers.reference import REFERENCE_COMMAND
from harness.stage.lab import LabSession
from harness.stage.session import open_session
from harness.steps import calls as call_steps

RELAYED = Cell(profiles.SYMMETRIC, profiles.SYMMETRIC)
CHATMAIL = frozenset({"home", "symmetric", "mobile", "carrier"})


def test_what_is_expected_is_what_is_known_of_hole_punching():
    found = {
        frozenset({cell.caller.name, cell.callee.name}): expected_path(cell.caller, cell.callee).path
        for cell in EVERY
        if {cell.caller.name, cell.callee.name} <= CHATMAIL
    }
    direct = {pair for pair, path in found.items() if path == "direct"}
    assert direct == {frozenset({"home"}), frozenset({"home", "carrier"}), frozenset({"carrier"})}
    assert set(found.values()) == {"direct", "relayed"}


@pytest.mark.parametrize("blocked", [profiles.UDP_BLOCKED, profiles.ONLY_443, profiles.ONLY_443_REFUSED])
def test_without_udp_there_is_no_call_and_the_reason_is_said(blocked):
    for other in (profiles.PUBLIC, profiles.HOME, blocked):
        for expected in (expected_path(blocked, other), expected_path(other, blocked)):
            assert expected.path == "none"
            assert "Delta Chat has no TURN over TCP" in expected.why


def test_with_ipv6_alone_there_is_no_call_and_the_reason_is_said():
    expected = expected_path(profiles.HOME, profiles.IPV6_ONLY)
    assert expected.path == "none"
    assert "IPv6 only has no IPv4 address" in expected.why


def test_every_pair_is_tried_once_and_nobody_twice_at_the_same_time():
    pairs = [frozenset({cell.caller.name, cell.callee.name}) for cell in EVERY]
    kinds = {name for pair in pairs for name in pair}
    assert len(pairs) == len(set(pairs)) == len(kinds) * (len(kinds) + 1) // 2
    rounds = calls_paths._rounds(EVERY)
    assert sorted(map(str, itertools.chain(*rounds))) == sorted(map(str, EVERY))
    for each in rounds:
        names = [name for cell in each for name in cell.names]
        assert len(names) == len(set(names))


def test_the_matrix_shows_what_is_not_as_expected():
    cells = [
        MatrixCell("home", "home", "direct", "direct", "they can"),
        MatrixCell("home", "mobile", "relayed", "relayed(turn)", "they cannot", legs=1),
        MatrixCell("mobile", "mobile", "relayed", "mixed(direct 40 %, turn 60 %)", "they cannot", legs=2),
        MatrixCell("only 443", "home", "none", "none", "no UDP", override="relayed(turn)"),
        MatrixCell("only 443", "mobile", "none", "none", "no UDP", override="none"),
    ]
    lines = [line.split("  ") for line in render_matrix(cells).splitlines()]
    rows = {line[0]: [text.strip() for text in line[1:] if text] for line in lines[:4]}
    assert rows == {
        "from \\ to": ["home", "mobile"],
        "home": ["direct", "relayed, one leg"],
        "mobile": ["!mixed, both legs"],
        "only 443": ["none [relayed]", "none [!none]"],
    }
    record = Record("run", "calls_paths.x", Verdict.PASSED, 0.0, 1.0, "t", measurements={MATRIX: []})
    assert render_matrices([record]).startswith("calls_paths.x\n")
    assert render_matrices([replace(record, measurements={})]) == ""


def outcome_of(tmp_path, cells, *, command=REFERENCE_COMMAND, session_class=LabSession):
    """Of the check with these cells, in a lab whose session is of another class."""
    with open_session(Run(tmp_path / "run"), command=command) as session:

        @contextmanager
        def labs(**options):
            with session.labs(**options) as made:
                yield session_class(**{each.name: getattr(made, each.name) for each in fields(made)})

        outcome = calls_paths.calls_take_the_expected_path(session.target, labs, cells)
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
    return outcome


@pytest.mark.parametrize(
    "check", [calls_paths.calls_take_the_expected_path, calls_changes.calls_survive_outages]
)
def test_without_aiortc_no_lab_is_made_and_the_capability_named(tmp_path, monkeypatch, check):
    def no_labs():
        raise AssertionError("a lab was made")

    monkeypatch.setattr(call_steps, "calls_are_possible", lambda: False)
    with open_session(Run(tmp_path / "run")) as session:
        outcome = check(session.target, no_labs)
    assert outcome.verdict is Verdict.SKIPPED
    assert "capability calls" in outcome.reason


def test_a_network_that_is_not_what_it_says_is_no_place_to_prove_anything(tmp_path):
    liar = replace(profiles.HOME, name="liar", ipv4=profiles.SYMMETRIC.ipv4)
    outcome = outcome_of(tmp_path, [Cell(liar, profiles.HOME)])
    assert outcome.verdict is Verdict.UNDECIDED
    assert "NotAsItSays: the network 'liar' says of UDP" in outcome.reason


@dataclass(frozen=True)
class NatBecomesFriendly(LabSession):
    """After the self-test the NATs let more through than the profiles say."""

    def devices(self, places, *, by_443=()):
        for host in places.values():
            host.routers[0].change(nat=profiles.HOME.routers[0].nat)
        return super().devices(places, by_443=by_443)


def test_a_call_that_should_be_relayed_and_goes_direct_is_found(tmp_path):
    outcome = outcome_of(tmp_path, [RELAYED], session_class=NatBecomesFriendly)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "the call should be relayed" in outcome.reason
    assert "it is media: direct" in outcome.reason


@dataclass(frozen=True)
class SecretCable(LabSession):
    """Two devices have a wire between them that passes nobody who counts."""

    def devices(self, places, *, by_443=()):
        one, other = places.values()
        one.namespace.call(add_cable, other.namespace.fd)
        for host, friend in ((one, other), (other, one)):
            host.namespace.call(use_cable, friend.address)
        return super().devices(places, by_443=by_443)


def add_cable(other):
    with IPRoute() as netlink:
        netlink.link("add", ifname="cable", kind="veth", peer={"ifname": "cable", "net_ns_fd": other})


def use_cable(friend):
    with IPRoute() as netlink:
        [index] = netlink.link_lookup(ifname="cable")
        netlink.link("set", index=index, state="up")
        netlink.route("add", dst=f"{friend}/32", oif=index, scope="link")


def test_a_call_over_a_wire_that_nobody_counts_is_found(tmp_path):
    outcome = outcome_of(tmp_path, [RELAYED], session_class=SecretCable)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "it is media: disagreement" in outcome.reason
    assert "edge sent: 0 packets" in outcome.reason


@pytest.mark.parametrize("mutant", ["turn_ledger_doubles", "turn_ledger_has_nothing"])
def test_a_ledger_that_claims_too_much_or_nothing_is_a_disagreement(tmp_path, mutant):
    outcome = outcome_of(tmp_path, [RELAYED], command=[sys.executable, "-m", "mutants", mutant])
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "it is media: disagreement" in outcome.reason
    assert "the relay's ledger has from" in outcome.reason
