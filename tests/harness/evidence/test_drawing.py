"""A path for people: well-formed, and with the numbers in it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from harness.evidence import paths
from harness.evidence.drawing import as_json, as_svg, as_text
from harness.evidence.parties import ObservedDevice, Parties
from harness.evidence.paths import RelayedBytes

from .recorded import (
    CALL,
    DIRECT,
    FOREIGN,
    MIXED,
    NOTHING_BUT_CHECKS,
    OVER_THE_RELAY,
    REALTIME,
    RELAYED_BOTH,
    ledger,
    sides,
)

SVG = "{http://www.w3.org/2000/svg}"


def texts(drawing: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(drawing).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        (RELAYED_BOTH, {"turn", "↑ 500 packets/100000 bytes", "↓ 400 packets/80000 bytes"}),
        (DIRECT, {"→ 500 packets/100000 bytes", "← 400 packets/80000 bytes"}),
        (MIXED, {"↑ 200 packets/40000 bytes", "→ 300 packets/60000 bytes"}),
        (FOREIGN, {"7.7.7.7", "media: foreign(7.7.7.7)"}),
        (NOTHING_BUT_CHECKS, {"turn"}),
    ],
)
def test_a_drawing_has_everybody_and_every_number(edges, words):
    path = paths.of_call(edges, CALL, sides(500, 400), None)
    drawing = as_svg(path, CALL)
    assert words | {"alice", "bob", "home", "mobile", f"media: {path.name}"} <= set(texts(drawing))
    root = ET.fromstring(drawing)
    assert [each.tag for each in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert path.sentence in (root.findtext(f"{SVG}desc") or "")


def test_what_never_arrived_is_a_broken_line():
    blocked = {"alice": replace(DIRECT["alice"], rx=type(DIRECT["alice"].rx)())}
    path = paths.of_call(blocked, CALL, None, None)
    drawing = as_svg(path, CALL)
    assert "stroke-dasharray" in drawing
    assert "→ none of 500 packets/100000 bytes" in texts(drawing)
    assert "stroke-dasharray" not in as_svg(paths.of_call(DIRECT, CALL, None, None), CALL)


def test_a_device_is_drawn_with_the_kind_of_its_network():
    alice, bob = CALL.devices
    who = replace(CALL, devices=(replace(alice, network="symmetric"), bob))
    assert {"alice (symmetric)", "bob"} <= set(texts(as_svg(paths.of_call(DIRECT, who, None, None), who)))


def test_names_are_no_markup():
    odd = Parties((ObservedDevice('<b>"&', CALL.devices[0].addresses), CALL.devices[1]), CALL.relays)
    path = paths.of_call({'<b>"&': DIRECT["alice"]}, odd, None, None)
    assert '<b>"&' in texts(as_svg(path, odd))


def test_two_lines_of_text():
    path = paths.of_call(RELAYED_BOTH, CALL, sides(500, 400), ledger(500, 400))
    assert as_text(path).splitlines() == [
        "media: relayed(turn), by counters at the edges and agents and the relay's ledger",
        "alice > turn 500 packets/100000 bytes; turn > alice 400 packets/80000 bytes; "
        "bob > turn 400 packets/80000 bytes; turn > bob 500 packets/100000 bytes",
    ]


def test_json_has_what_was_counted_and_what_follows():
    path = paths.of_realtime(OVER_THE_RELAY, REALTIME, 60_000, RelayedBytes(90_000, 0))
    data = json.loads(json.dumps(as_json(path)))
    assert data["verdict"] == "disagreement"
    assert data["contradictions"] == list(path.contradictions)
    assert {"witness": "ledger", "place": "the relay's ledger has to devices"} | {
        "packets": 0,
        "bytes": 0,
        "stream": 0,
    } in data["hops"]
    assert data["legs"][0]["attempted"] == {"packets": 0, "bytes": 0, "stream": 50_000}
