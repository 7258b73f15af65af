"""What real cores do with a server that is found over IPv4 and IPv6."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.checks.ipv6 import IPV6_WITHOUT_UDP
from harness.clients.core.core import befriend
from harness.hosts import MissingCapability
from harness.network import profiles
from harness.realtime.swarm import join
from harness.stage.lab import DOMAIN, RELAY_PORT, LabSession, open_lab
from harness.waiting import WaitTimeout


@pytest.fixture
def session(tmp_path) -> Iterator[LabSession]:
    try:
        with open_lab(tmp_path / "logs", ipv6=True) as session:
            yield session
    except MissingCapability as missing:
        pytest.skip(str(missing))


def test_the_ledgers_name_clients_of_both_families_as_they_are(session):
    """On a socket of both families an IPv4 address comes wrapped; nobody must see that."""
    places = {
        "alice": session.lab.device("alice", profiles.IPV6_ONLY),
        "bob": session.lab.device("bob", profiles.HOME),
    }
    with session.devices(places) as (alice, bob):
        befriend(alice.account, bob.account)
        assert join(alice, bob).exchange(10).complete
        ledger = session.reference.ledger()
    outer = {places["alice"].address, places["bob"].routers[0].link.addresses[0]}
    for service in (ledger.mail, ledger.iroh_relay):
        assert {each.remote.rpartition(":")[0] for each in service.connections} == outer
    assert {each.name for each in session.lab.names.queries} == {DOMAIN}


@pytest.mark.nightly
def test_without_an_answer_over_udp_iroh_dials_the_ipv4_address_of_a_relay(session):
    """Also where the device has no IPv4 address and the relay's name has an IPv6 one: it never gets there."""
    places = {name: session.lab.device(name, IPV6_WITHOUT_UDP) for name in ("alice", "bob")}
    with session.devices(places) as (alice, bob):
        befriend(alice.account, bob.account)
        with pytest.raises(WaitTimeout):
            join(alice, bob, within=15)
        contacted = alice.core.iroh_trace().contacted
    assert f"{session.server.address}:{RELAY_PORT}" in contacted
    assert not any(each.startswith("[") and each.endswith(f":{RELAY_PORT}") for each in contacted)
    assert session.reference.ledger().iroh_relay.connections == ()
