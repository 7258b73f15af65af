"""What libwebrtc says of its connection, as Chromium 156 said it in a relayed call, in the words of every peer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.calls.peers import Stats, Traffic
from harness.calls.quality import MachineTooSlow
from harness.calls.window_stats import plain_stats, rtp_counts

TRANSPORT = {
    "id": "T01",
    "type": "transport",
    "packetsSent": 554,
    "bytesSent": 82717,
    "packetsReceived": 571,
    "bytesReceived": 89727,
    "selectedCandidatePairId": "CP1",
}
CANDIDATES = [
    {"id": "CP1", "type": "candidate-pair", "localCandidateId": "L", "remoteCandidateId": "R"},
    {
        "id": "L",
        "type": "local-candidate",
        "candidateType": "relay",
        "address": "198.51.100.1",
        "port": 49155,
    },
    {"id": "R", "type": "remote-candidate", "candidateType": "prflx", "address": None, "port": 5000},
]
STREAMS = [
    {"id": "O1", "type": "outbound-rtp", "kind": "audio", "packetsSent": 100},
    {"id": "O2", "type": "outbound-rtp", "kind": "video", "packetsSent": 80, "framesSent": 29},
    {"id": "I1", "type": "inbound-rtp", "kind": "audio", "packetsReceived": 90, "packetsLost": 3},
    {"id": "I2", "type": "inbound-rtp", "kind": "video", "packetsReceived": 70, "packetsLost": -1},
]


def said(*entries, **fields):
    usual = {
        "ice": "connected",
        "connection": "connected",
        "seconds": 2.0,
        "longest": 0.3,
        "silent": 0.04,
        "still": 0.3,
        "filmed": 30,
        "sent": 3,
        "received": [0, 1, 2],
    }
    return {"entries": list(entries), **usual, **fields}


WITH_VIDEO, WITHOUT = {"video": [320, 240, 15.0]}, {"video": None}


def test_bytes_are_those_of_the_transport_and_the_pair_is_the_selected_one():
    found = plain_stats(said(TRANSPORT, *CANDIDATES, *STREAMS), WITH_VIDEO)
    assert found["transport"] == {
        "packetsSent": 554,
        "bytesSent": 82717,
        "packetsReceived": 571,
        "bytesReceived": 89727,
    }
    assert found["pair"] == {
        "local": "relay",
        "local_address": ["198.51.100.1", 49155],
        "remote": "prflx",
        "remote_address": ["", 5000],
    }
    assert found["numbers_received"] == 3 and found["numbers_in_order"]


def test_pace_is_that_of_packets_of_sound_and_of_pictures_that_were_sent():
    pace = plain_stats(said(TRANSPORT, *STREAMS), WITH_VIDEO)["pace"]
    assert {
        kind: (each["sent"], each["per_second"], each["longest_pause"]) for kind, each in pace.items()
    } == {"audio": (100, 50, 0.04), "video": (29, 15.0, 0.3)}
    assert "video" not in plain_stats(said(TRANSPORT, *STREAMS), WITHOUT)["pace"]


def test_without_a_connection_there_is_no_pair_and_nothing_was_sent():
    found = plain_stats(said({"id": "T01", "type": "transport"}, received=[2, 1, 1]), WITHOUT)
    assert (found["pair"], set(found["transport"].values())) == (None, {0})
    assert (found["numbers_received"], found["numbers_in_order"]) == (2, False)


def test_pictures_that_the_encoder_or_the_decoder_left_out_are_told():
    sender = {"id": "O2", "type": "outbound-rtp", "kind": "video", "framesSent": 27}
    receiver = {"id": "I2", "type": "inbound-rtp", "kind": "video", "framesDropped": 2}
    found = plain_stats(said(sender, receiver, filmed=30), WITH_VIDEO)
    assert (found["pictures_not_sent"], found["pictures_dropped"]) == (3, 2)
    assert plain_stats(said(sender, receiver, filmed=26), WITH_VIDEO)["pictures_not_sent"] == 0
    assert plain_stats(said(filmed=0), WITHOUT)["pictures_not_sent"] == 0


def test_packets_that_came_twice_make_none_found_again():
    assert rtp_counts(said(*STREAMS)) == {"received": 160, "lost": 3, "duplicates": 0, "reordered": 0}


def test_a_window_that_stood_still_makes_a_late_call_undecided():
    nothing = Stats(Traffic(0, 0, 0, 0), None, "checking", "connecting", {}, 0, 0, True)
    with pytest.raises(
        MachineTooSlow, match=r"machine too slow \(alice's call window stood still for 2.5 s\)"
    ):
        replace(nothing, stood_still=2.5).check_set_up("alice")
    replace(nothing, stood_still=0.5).check_set_up("alice")
