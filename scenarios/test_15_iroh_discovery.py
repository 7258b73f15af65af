"""Test 15: METADATA offers a relay of this server, and the relay behind it works."""

from __future__ import annotations

import pytest

from harness.checks import discovery, relay
from harness.hosts import Host
from harness.target import Target


@pytest.mark.requirement("DISC-1", "DISC-2", "IROH-6", "E2E-15")
def test_metadata_offers_a_relay(target: Target, host: Host) -> None:
    assert discovery.metadata_offers_a_relay(target, host)


@pytest.mark.requirement("DISC-7", "E2E-15")
def test_metadata_needs_login(target: Target, host: Host) -> None:
    assert discovery.metadata_needs_login(target, host)


@pytest.mark.requirement("IROH-1", "DISC-6", "E2E-15")
def test_relay_answers_http(target: Target, host: Host) -> None:
    assert relay.relay_answers_http(target, host)


@pytest.mark.requirement("IROH-1", "IROH-2", "IROH-11", "DISC-6", "E2E-15")
def test_relay_forwards_each_frame_once(target: Target, host: Host) -> None:
    assert relay.relay_forwards_each_frame_once(target, host)


@pytest.mark.requirement("IROH-10", "E2E-15")
def test_relay_refuses_bad_signatures(target: Target, host: Host) -> None:
    assert relay.relay_refuses_bad_signatures(target, host)
