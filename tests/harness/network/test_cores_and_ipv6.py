"""What real cores do with a server that is found over IPv4 and IPv6."""

from __future__ import annotations

import pytest

from harness.checks.ipv6 import IPV6_WITHOUT_UDP
from harness.clients.core.core import befriend
from harness.evidence.egress import DirectTraffic
from harness.network import profiles
from harness.realtime.swarm import join
from harness.servers.server import Wants
from harness.stage.lab import DOMAIN, RELAY_PORT
from harness.target import Service
from harness.waiting import WaitTimeout

from ..labs import lab_stage

BOTH_FAMILIES = Wants(both_families=True)


def test_the_ledgers_name_clients_of_both_families_as_they_are(tmp_path):
    """On a socket of both families an IPv4 address comes wrapped; nobody must see that."""
    with lab_stage(tmp_path, BOTH_FAMILIES) as lab:
        with lab.people(DirectTraffic.ALL, [DOMAIN], alice=profiles.IPV6_ONLY, bob=profiles.HOME) as people:
            alice, bob = people
            befriend(alice.account, bob.account)
            assert join(alice, bob).exchange(10).complete
            ledgers = [lab.ledger(service) for service in (Service.MAIL, Service.IROH_RELAY)]
            outer = {people.host(alice).address, people.host(bob).routers[0].link.addresses[0]}
        own = set(lab.machine.addresses)
        for ledger in ledgers:
            assert ledger is not None
            clients = {each.remote.rpartition(":")[0] for each in ledger.connections}
            assert clients - own == outer, "the server itself is who reads METADATA before any core starts"
        assert {each.name for each in lab.network.names.queries} == {DOMAIN}
        assert lab.outcome, lab.outcome


@pytest.mark.nightly
def test_without_an_answer_over_udp_iroh_dials_the_ipv4_address_of_a_relay(tmp_path):
    """Also where the device has no IPv4 address and the relay's name has an IPv6 one: it never gets there."""
    blocked = IPV6_WITHOUT_UDP
    with lab_stage(tmp_path, BOTH_FAMILIES) as lab:
        with lab.people(DirectTraffic.ALL, [DOMAIN], alice=blocked, bob=blocked) as people:
            alice, bob = people
            befriend(alice.account, bob.account)
            with pytest.raises(WaitTimeout):
                join(alice, bob, within=15)
            contacted = alice.core.iroh_trace().contacted
        assert f"{lab.machine.address}:{RELAY_PORT}" in contacted
        assert not any(each.startswith("[") and each.endswith(f":{RELAY_PORT}") for each in contacted)
        ledger = lab.ledger(Service.IROH_RELAY)
        assert ledger is not None
        assert ledger.connections == ()
