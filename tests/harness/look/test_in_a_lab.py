"""A look from another machine: how much it sends, and what only shows from outside."""

from __future__ import annotations

from pathlib import Path

from harness.diagnosis.diagnosis import diagnose
from harness.look.look import look_at
from harness.network import profiles
from harness.network.lab import LabHost
from harness.servers.reference import Reference

from ..labs import lab_stage

MOST_PACKETS = 220
"""About 200, and some that were sent again."""
CLOSED = """\
table inet closed {
 chain in {
  type filter hook input priority filter
  iifname != "lo" udp dport 49152-65535 drop
 }
}
"""


def packets_sent(device: LabHost) -> int:
    lines = device.namespace.call(Path("/proc/thread-self/net/dev").read_text).splitlines()[2:]
    return sum(int(line.partition(":")[2].split()[9]) for line in lines if not line.strip().startswith("lo:"))


def test_a_closed_range_of_relay_ports_is_named_from_outside_alone(tmp_path):
    with lab_stage(tmp_path, kind=Reference()) as lab:
        device = lab.network.device("doctor", profiles.PUBLIC)
        before = packets_sent(device)
        healthy = diagnose(look_at(lab.target, device))
        sent = packets_sent(device) - before
        lab.machine.namespace.nft(CLOSED)
        sick = diagnose(look_at(lab.target, device))
    assert healthy.causes == (), healthy.steps
    assert "turn.relay_ports_closed" in healthy.excluded
    assert 0 < sent <= MOST_PACKETS
    [named] = sick.causes
    assert named.cause.name == "turn.relay_ports_closed"
    assert any("so TURN itself works" in each for each in named.evidence)
