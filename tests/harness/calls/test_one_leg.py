"""A call of which one side alone holds an allocation: as between a symmetric NAT and one that lets answers in.

The embedded server relays to nothing on loopback that it did not allocate itself (TURN-11), so the TURN server here
is one of its own, with `--allow-peers`.
"""

from __future__ import annotations

from dataclasses import replace

from harness.calls.balance import account, carried_by_sender
from harness.calls.call import parties, place
from harness.calls.peers import IceServer
from harness.clients.control import ServiceLedger
from tests.reference_server.turn.running import credentials, running

from .conftest import Friends


def test_one_leg_is_recognised_and_its_account_balances(friends: Friends, tmp_path):
    with running(tmp_path, "--allow-peers", "127.0.0.0/8", listen=["udp"]) as turn:
        _, port = turn.address("udp")
        servers = {"alice": [IceServer((f"turn:127.0.0.1:{port}",), *credentials())], "bob": []}
        with parties(*friends, servers, tmp_path / "agents") as (alice, bob):
            call = place(replace(alice, policy="relay"), bob).accept()
            talked = call.talk(1.0, numbers=50)
            stats = {side.name: side.peer.stats() for side in call.sides}
            ledger = ServiceLedger.parse(turn.ledger())
            call.hang_up()
    talked.check_pace()
    pairs = {name: (each.pair.local, each.pair.remote) for name, each in stats.items() if each.pair}
    assert pairs["alice"] == ("relay", "host")
    assert pairs["bob"] in {("host", "relay"), ("host", "prflx")}
    assert talked.path == "relayed"
    [used] = [each for each in ledger.allocations if "rtp" in each.to_peer]
    assert "rtp" in used.to_client  # both ways through the one allocation
    balance = account(stats, "relayed", carried_by_sender(ledger, stats))
    assert balance, f"{balance.problems}\n{balance}"
    assert all(each.server is not None and each.server.packets > 50 for each in balance.directions)
    for report in talked.reports.values():
        assert report.audio is not None
        assert (report.audio.gaps, report.audio.jumps, report.packets_lost) == ((), (), 0)
