"""What `nft` answers, and what is made of it."""

from __future__ import annotations

import json
import re

from harness.clients.turn.ledger import Count
from harness.evidence import flows
from harness.evidence.flows import Counts, EdgeCounts, Endpoint, Flow, PacketClass

SOURCE, DESTINATION = Endpoint("5.9.0.1", 1000), Endpoint("2a01:4f8::1", 2000)


def answer(sets: dict[str, tuple[int, int]], **counters: int) -> str:
    """Of `nft -j list table`: sets with one element each (packets and bytes as the kernel counts), and counters."""
    names = [f"{way}_{name}" for way in ("tx", "rx") for name in ("total", "fragments", "missed")]
    return json.dumps(
        {
            "nftables": [
                {"metainfo": {"version": "1.0.6"}},
                *(
                    {"counter": {"name": name, "packets": counters.get(name, 0), "bytes": 1}}
                    for name in names
                ),
                {"set": {"name": "tx4_stun", "size": 65535}},
                *(
                    {"set": {"name": name, "elem": [{"elem": element(name, *counted)}]}}
                    for name, counted in sets.items()
                ),
            ]
        }
    )


def element(name: str, packets: int, size: int) -> dict[str, object]:
    key: list[object] = [SOURCE.address, DESTINATION.address, "udp"]
    ports = [] if name.endswith("_rest") else [SOURCE.port, DESTINATION.port]
    return {"val": {"concat": key + ports}, "counter": {"packets": packets, "bytes": size}}


def test_headers_are_taken_off_as_the_hook_counts_them():
    counted = flows.parse(
        answer(
            {
                "tx4_rtp": (2, 2 * 128),
                "tx6_rtcp": (1, 148),
                "tx4_channel_dtls": (3, 3 * 132),
                "rx4_rtp": (1, 142),
                "rx6_other": (1, 162),
                "tx4_tcp": (1, 152),
                "rx4_rest": (1, 98),
            },
            tx_total=7,
            rx_total=3,
        )
    )
    assert {(flow.kind, flow.channel): count for flow, count in counted.tx.rows.items()} == {
        (PacketClass.RTP, False): Count(2, 200),
        (PacketClass.RTCP, False): Count(1, 100),
        (PacketClass.DTLS, True): Count(3, 300),
        (PacketClass.TCP, False): Count(1, 132),
    }
    assert dict(counted.rx.rows) == {
        Flow(SOURCE, DESTINATION, PacketClass.RTP): Count(1, 100),
        Flow(SOURCE, DESTINATION, PacketClass.OTHER): Count(1, 100),
        Flow(Endpoint(SOURCE.address, 0), Endpoint(DESTINATION.address, 0), PacketClass.REST): Count(1, 64),
    }
    assert counted.problems == []


def test_a_total_that_its_parts_do_not_add_up_to_is_a_problem():
    listed = {"tx4_rtp": (2, 256)}
    assert flows.parse(answer(listed, tx_total=4)).problems == [], "a listing is not atomic"
    (problem,) = flows.parse(answer(listed, tx_total=5)).problems
    assert problem == "sent: 5 packets in total, 3 of them in no row"
    assert flows.parse(answer(listed, tx_total=5, tx_fragments=3)).problems == []


def test_a_difference_forgets_what_did_not_move():
    moved, still = (Flow(SOURCE, DESTINATION, kind) for kind in (PacketClass.RTP, PacketClass.STUN))
    earlier = EdgeCounts(Counts({moved: Count(1, 10), still: Count(5, 50)}, total=6))
    later = EdgeCounts(Counts({moved: Count(3, 40), still: Count(5, 50)}, total=9, fragments=1))
    assert later - earlier == EdgeCounts(Counts({moved: Count(2, 30)}, total=3, fragments=1))


def test_a_key_has_five_fields_at_most():
    """Six load without an error and list as garbage."""
    keys = re.findall(r"typeof (.+)", flows.ruleset("d1"))
    assert keys
    assert {len(key.split(" . ")) for key in keys} == {5, 3}
