"""A closed range of relay ports, the commonest fault of all: two clients of one server never see it, a plain peer does."""

from __future__ import annotations

import shutil

import pytest

from harness.hosts import MissingCapability
from harness.network import profiles
from harness.network.preflight import preflight
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.registry import server_of
from harness.stage.session import open_session
from harness.steps.plain_peer import exchange_with_plain_peer
from harness.urls import TurnUrl

CLOSED = """\
table inet closed {
 chain in {
  type filter hook input priority filter
  iifname != "lo" udp dport 49152-65535 drop
 }
}
"""


needs_coturn = pytest.mark.skipif(
    shutil.which("turnserver") is None, reason="capability coturn: apt-get install coturn"
)


@pytest.mark.parametrize("kind", ["reference", pytest.param("reference+coturn", marks=needs_coturn)])
def test_a_closed_range_of_relay_ports_is_red_and_an_open_one_is_not(kind, tmp_path):
    try:
        preflight().require("netns", "nft")
    except MissingCapability as missing:
        pytest.skip(str(missing))
    with open_session(Run(tmp_path / "run"), kind=server_of(kind)) as session:
        stage = session.stage("test")
        with stage.lab() as lab:
            client, peer = (lab.network.device(name, profiles.PUBLIC) for name in ("client", "peer"))
            offer = lab.own_turn()
            url = TurnUrl("udp", offer.host, offer.port)
            exchange_with_plain_peer(stage.outcome, url, offer.credentials, client, peer)
            assert stage.outcome, stage.outcome
            lab.machine.namespace.nft(CLOSED)
            exchange_with_plain_peer(stage.outcome, url, offer.credentials, client, peer)
    assert stage.outcome.verdict is Verdict.FAILED
    assert "open them in the firewall" in stage.outcome.reason
