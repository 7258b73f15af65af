"""Calls between networks: hidden ways and false witnesses turn the check red, a slow machine does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyroute2 import IPRoute

from harness.calls.quality import MachineTooSlow
from harness.checks import calls_paths
from harness.clients import device
from harness.network import profiles
from harness.network.lab import LabHost
from harness.network.pairs import Pair
from harness.report.observations import MatrixCell
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.reference import Reference
from harness.stage import lab
from harness.stage.outcome import Outcome
from harness.stage.session import open_session
from harness.steps.call_lab import LabCallers

RELAYED = Pair(profiles.SYMMETRIC, profiles.SYMMETRIC)


def outcome_of(tmp_path, pair: Pair, kind: Reference | None = None) -> Outcome:
    """Of the check with this pair alone."""
    with open_session(Run(tmp_path / "run"), kind=kind or Reference()) as session:
        outcome = calls_paths.calls_take_the_expected_path(session.stage("paths"), pairs=[pair])
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
    return outcome


def before_devices_start(monkeypatch, happens: Callable[[Mapping[str, LabHost]], None]) -> None:
    """When the networks have been tested, and nobody is there yet."""

    def devices_online(*arguments: Any, hosts: Mapping[str, LabHost], **options: Any) -> Any:
        happens(hosts)
        return device.devices_online(*arguments, hosts=hosts, **options)

    monkeypatch.setattr(lab, "devices_online", devices_online)


def test_a_network_that_is_not_what_it_says_is_no_place_to_prove_anything(tmp_path):
    liar = replace(profiles.HOME, name="liar", ipv4=profiles.SYMMETRIC.ipv4)
    outcome = outcome_of(tmp_path, Pair(liar, profiles.HOME))
    assert outcome.verdict is Verdict.UNDECIDED
    assert "the network 'liar' says of UDP" in outcome.reason


def test_a_call_that_should_be_relayed_and_goes_direct_is_found(tmp_path, monkeypatch):
    """After the self-test the NATs let more through than the profiles say."""

    def become_friendly(hosts: Mapping[str, LabHost]) -> None:
        for host in hosts.values():
            host.routers[0].change(nat=profiles.HOME.routers[0].nat)

    before_devices_start(monkeypatch, become_friendly)
    outcome = outcome_of(tmp_path, RELAYED)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "the call should be relayed" in outcome.reason
    assert "it is media: direct" in outcome.reason
    [cell] = [each for each in outcome.observations if isinstance(each, MatrixCell)]
    assert not cell.as_expected


def test_a_call_over_a_wire_that_nobody_counts_is_found(tmp_path, monkeypatch):
    """Two devices have a wire between them that passes no edge."""

    def connect(hosts: Mapping[str, LabHost]) -> None:
        one, other = hosts.values()
        one.namespace.call(add_cable, other.namespace.fd)
        for host, friend in ((one, other), (other, one)):
            host.namespace.call(use_cable, friend.address)

    before_devices_start(monkeypatch, connect)
    outcome = outcome_of(tmp_path, RELAYED)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "it is media: disagreement" in outcome.reason
    assert "edge sent: 0 packets" in outcome.reason


def add_cable(other):
    with IPRoute() as netlink:
        netlink.link("add", ifname="cable", kind="veth", peer={"ifname": "cable", "net_ns_fd": other})


def use_cable(friend):
    with IPRoute() as netlink:
        [index] = netlink.link_lookup(ifname="cable")
        netlink.link("set", index=index, state="up")
        netlink.route("add", dst=f"{friend}/32", oif=index, scope="link")


@pytest.mark.parametrize("mutant", ["turn_ledger_doubles", "turn_ledger_has_nothing"])
def test_a_ledger_that_claims_too_much_or_nothing_is_a_disagreement(tmp_path, mutant):
    outcome = outcome_of(tmp_path, RELAYED, Reference([sys.executable, "-m", "mutants", mutant]))
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "it is media: disagreement" in outcome.reason
    assert "the relay's ledger has from" in outcome.reason


def test_a_pair_whose_agents_are_too_slow_is_undecided_and_says_so():
    def attempt(*_arguments: object, **_options: object) -> None:
        raise MachineTooSlow("machine too slow (alice's audio: sent 31 of 50 per second)")

    callers = SimpleNamespace(
        outcome=Outcome(), befriend=lambda *_names: None, attempt=attempt, moves=lambda *_names: False
    )
    callers.apart = lambda: callers
    outcome = calls_paths._attempt(cast(LabCallers, callers), RELAYED)
    assert outcome.verdict is Verdict.UNDECIDED
    assert outcome.reason.startswith("symmetric with symmetric: machine too slow (alice's audio")
    assert not outcome.observations
