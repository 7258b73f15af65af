"""What an iroh relay promises beyond test 15: long-lived connections, and the protocols of nodes since 0.91."""

from __future__ import annotations

import pytest

from harness.checks import relay, relay_v1
from harness.hosts import Host
from harness.target import Target


@pytest.mark.requirement("IROH-3")
def test_relay_connection_survives_idle(target: Target, host: Host) -> None:
    assert relay.relay_connection_survives_idle(target, host)


@pytest.mark.requirement("IROH-1", "IROH-2", "IROH-11")
def test_relay_v1_forwards_each_datagram_once(target: Target, host: Host) -> None:
    assert relay_v1.relay_v1_forwards_each_datagram_once(target, host)


@pytest.mark.requirement("IROH-10")
def test_relay_v1_refuses_bad_signatures(target: Target, host: Host) -> None:
    assert relay_v1.relay_v1_refuses_bad_signatures(target, host)


@pytest.mark.requirement("IROH-1")
def test_relay_v1_same_key_rules(target: Target, host: Host) -> None:
    assert relay_v1.relay_v1_same_key_rules(target, host)


@pytest.mark.requirement("IROH-1", "IROH-2", "IROH-5")
def test_relay_v1_carries_real_nodes(target: Target, host: Host) -> None:
    assert relay_v1.relay_v1_carries_real_nodes(target, host)
