"""Where devices went: against what the target offers."""

from __future__ import annotations

from harness.clients.turn.ledger import Count
from harness.evidence import egress
from harness.evidence.egress import DirectTraffic
from harness.evidence.flows import Endpoint, Flow, PacketClass

from .recorded import ALICE_INSIDE, BOB, CALL, IROH, RELAY_PORT, TURN, Rows, checks, edge, rtp

IMAP = Endpoint("5.9.0.1", 993)


def sent(destination: Endpoint, kind: PacketClass = PacketClass.TCP, packets: int = 4) -> dict[Flow, Count]:
    return {Flow(ALICE_INSIDE, destination, kind): Count(packets, packets * 60)}


def of(tx: Rows, rx: Rows | None = None, **kwargs) -> egress.Egress:
    return egress.of_edges({"alice": edge(tx, rx or {}), "bob": edge({}, {})}, CALL, **kwargs)


def test_what_the_target_offers_is_fine():
    found = of(
        sent(IMAP)
        | sent(IROH)
        | sent(TURN)
        | sent(Endpoint("5.9.0.1", 3478), PacketClass.STUN)
        | rtp(ALICE_INSIDE, RELAY_PORT, 100)
        | {Flow(Endpoint("10.0.1.2", 0), Endpoint("5.9.0.1", 0), PacketClass.REST): Count(1, 64)}
    )
    assert found
    assert len(found.contacts) == 6
    assert str(found) == "nothing but what the target offers, by counters at the edges"


def test_a_stranger_is_named_with_what_came_back():
    back = {Flow(Endpoint("7.7.7.7", 443), ALICE_INSIDE, PacketClass.TCP): Count(3, 200)}
    found = of(
        sent(IMAP) | sent(Endpoint("7.7.7.7", 443)) | sent(Endpoint("8.8.8.8", 9), PacketClass.STUN), back
    )
    assert not found
    assert found.foreign == (
        "alice sent 4 packets to 7.7.7.7 port 443 over tcp; 3 came back: the target does not offer that",
        "alice sent 4 packets to 8.8.8.8 port 9 over udp; nothing came back: the target does not offer that",
    )


def test_whoever_was_not_watched_may_have_gone_anywhere():
    found = egress.of_edges({"alice": edge(sent(IMAP), {})}, CALL)
    assert not found
    assert str(found) == "nobody counted at the edge of bob, which may have gone anywhere"


def test_a_port_of_the_target_that_is_no_service_is_foreign():
    (sentence,) = of(sent(Endpoint("5.9.0.1", 22))).foreign
    assert "to 5.9.0.1 port 22 over tcp" in sentence


def test_packets_of_dns_have_a_hint():
    """Random numbers begin a query, so it stands in several classes and is one contact."""
    resolver = Endpoint("1.1.1.1", 53)
    found = of(sent(resolver, PacketClass.OTHER) | sent(resolver, PacketClass.RTP))
    (sentence,) = found.foreign
    assert sentence.startswith("alice sent 8 packets to 1.1.1.1 port 53 over udp")
    assert "a key that METADATA does not have" in sentence


def test_other_devices_are_reached_as_far_as_it_is_allowed():
    both = checks(ALICE_INSIDE, BOB) | rtp(ALICE_INSIDE, BOB, 10)
    assert "that is bob, who should not be reached directly" in str(of(checks(ALICE_INSIDE, BOB)))
    assert of(checks(ALICE_INSIDE, BOB), devices=DirectTraffic.CONNECTIVITY_CHECKS)
    assert not of(both, devices=DirectTraffic.CONNECTIVITY_CHECKS)
    assert of(both, devices=DirectTraffic.ALL)


def test_what_stays_on_the_link_is_no_destination():
    chatter = {
        Flow(Endpoint("fe80::2", 0), Endpoint(address, 0), PacketClass.REST): Count(2, 100)
        for address in ("ff02::16", "ff02::2", "fe80::1")
    }
    assert of(chatter | sent(Endpoint("224.0.0.251", 5353), PacketClass.OTHER)).contacts == ()


def test_names_that_were_asked_for():
    lookups = [
        ("5.9.0.10", "Chatmail.Test."),
        ("10.0.1.2", "_imap.chatmail.test"),
        ("5.9.0.10", "turn.delta.chat"),
    ]
    found = of({}, lookups=lookups, names=["chatmail.test"])
    assert found.foreign == ("alice asked DNS for turn.delta.chat, which the target does not name",)
    assert [each.name for each in found.lookups][:2] == ["chatmail.test", "_imap.chatmail.test"]
    assert not of({}, lookups=[("5.9.0.10", "evilchatmail.test")], names=["chatmail.test"])


def test_a_log_is_the_weaker_witness():
    found = egress.of_log("alice", ["chatmail.test", "relay.example."], ["chatmail.test"])
    assert found.foreign == ("alice knows of relay.example, which the target does not offer",)
    assert "not what left the machine" in str(egress.of_log("alice", ["a"], ["a"]))
