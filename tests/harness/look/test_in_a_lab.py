"""A look from another machine: how much it sends, and what only shows from outside."""

from __future__ import annotations

from harness.diagnosis.diagnosis import diagnose
from harness.evidence.edges import Edges
from harness.look.look import look_at
from harness.look.packets import MOST_PACKETS
from harness.network import profiles
from harness.servers.reference import Reference

from ..labs import lab_stage

CLOSED = """\
table inet closed {
 chain in {
  type filter hook input priority filter
  iifname != "lo" udp dport 49152-65535 drop
 }
}
"""


def test_a_closed_range_of_relay_ports_is_named_from_outside_alone(tmp_path):
    with lab_stage(tmp_path, kind=Reference()) as lab:
        device = lab.network.device("doctor", profiles.PUBLIC)
        with Edges([device]) as edges:
            healthy = diagnose(look_at(lab.target, device))
            edges.settle(within=5)
            counted = edges.now()[device.name].tx
        sent = sum(count.packets for flow, count in counted.rows.items() if flow.protocol != "rest")
        lab.machine.namespace.nft(CLOSED)
        sick = diagnose(look_at(lab.target, device))
    assert healthy.causes == (), healthy.steps
    assert "turn.relay_ports_closed" in healthy.excluded
    assert healthy.look.packets is not None
    assert 100 < sent <= healthy.look.packets <= MOST_PACKETS
    [named] = sick.causes
    assert named.cause.name == "turn.relay_ports_closed"
    assert any("so TURN itself works" in each for each in named.evidence)
