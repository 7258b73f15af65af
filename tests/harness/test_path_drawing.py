"""A path for people: everybody and every number, on a drawing where nothing covers anything."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import combinations

import pytest

from harness.evidence import paths
from harness.report.observations import DeviceAt, LegSeen, LoadSeen, PathSeen
from harness.report.path_drawing import CHARACTER, as_grid, as_svg, as_text, boxes
from harness.steps.observed import path_seen

from .evidence.recorded import (
    CALL,
    DIRECT,
    FOREIGN,
    MIXED,
    NOTHING_BUT_CHECKS,
    RELAYED_BOTH,
    ledger,
    sides,
)

SVG = "{http://www.w3.org/2000/svg}"
EVERY_PATH = (RELAYED_BOTH, DIRECT, MIXED, FOREIGN, NOTHING_BUT_CHECKS)


def seen(edges) -> PathSeen:
    return path_seen(paths.of_call(edges, CALL, sides(500, 400), None), CALL)


def texts(drawing: str) -> list[str]:
    return [each.text or "" for each in ET.fromstring(drawing).iter(f"{SVG}text")]


def among(number: int, *services: str) -> PathSeen:
    """As much as can be on a drawing: all devices with all others and with all services, behind two routers each."""
    names = [f"device {each} in a network with a name" for each in range(number)]
    ends = [*names, *services]
    load = LoadSeen(123456, 98765432, 12345678)
    legs = [
        LegSeen(one, other, "direct" if {one, other} <= set(names) else "relayed", load, load)
        for one in names
        for other in ends
        if one != other
    ] + [LegSeen(service, name, "relayed", None, load) for service in services for name in names]
    devices = tuple(DeviceAt(name, "symmetric", ("router", "carrier")) for name in names)
    return PathSeen(
        "media", "mixed", "mixed", by=services, legs=tuple(legs), devices=devices, relays=services
    )


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        (RELAYED_BOTH, {"turn", "↑ 500 packets, 100.0 kB", "↓ 400 packets, 80.0 kB"}),
        (DIRECT, {"→ 500 packets, 100.0 kB", "← 400 packets, 80.0 kB"}),
        (MIXED, {"↑ 200 packets, 40.0 kB", "→ 300 packets, 60.0 kB"}),
        (FOREIGN, {"7.7.7.7", "media: foreign(7.7.7.7)"}),
        (NOTHING_BUT_CHECKS, set()),
    ],
)
def test_a_drawing_has_everybody_and_every_number(edges, words):
    path = seen(edges)
    drawing = as_svg(path)
    if not path.legs:
        assert drawing == ""
        return
    assert words | {"alice", "bob", "home", "mobile", f"media: {path.name}"} <= set(texts(drawing))
    assert (ET.fromstring(drawing).findtext(f"{SVG}desc") or "").startswith(f"media: {path.name}, by ")


@pytest.mark.parametrize(
    "path", [*map(seen, EVERY_PATH), among(2, "turn"), among(3, "turn"), among(2, "turn", "iroh_relay")]
)
def test_nothing_on_a_drawing_covers_anything(path):
    layout = boxes(path)
    placed = [box for box, _, _ in layout.nodes] + [box for box, _ in layout.labels]
    assert [pair for pair in combinations(placed, 2) if pair[0].overlaps(pair[1])] == []
    for box in placed:
        assert box.x >= 0 and box.x + box.width <= layout.width
        assert box.y >= 0 and box.y + box.height <= layout.height
    for box, words in layout.labels:
        assert max(map(len, words)) * CHARACTER <= box.width


def test_a_name_that_is_too_long_for_its_box_is_cut_and_told_in_full():
    drawing = as_svg(among(2, "turn"))
    name = "device 0 in a network with a name (symmetric)"
    assert name in [each.text for each in ET.fromstring(drawing).iter(f"{SVG}title")]
    assert max(map(len, texts(drawing)[1:])) < len(name)


def test_what_never_arrived_is_a_broken_line():
    blocked = {"alice": replace(DIRECT["alice"], rx=type(DIRECT["alice"].rx)())}
    drawing = as_svg(path_seen(paths.of_call(blocked, CALL, None, None), CALL))
    assert 'class="way direct broken"' in drawing
    assert "→ none of 500 packets, 100.0 kB" in texts(drawing)
    assert "broken" not in as_svg(seen(DIRECT))


def test_chatter_of_a_device_to_all_around_it_is_no_line():
    chatter = LegSeen("alice", "239.255.255.250", "foreign", LoadSeen(3, 399), None)
    path = seen(DIRECT)
    assert as_svg(replace(path, legs=(*path.legs, chatter))) == as_svg(path)


def test_names_are_no_markup():
    path = among(2, "turn")
    odd = DeviceAt('<b onclick="x">&', "\x1b[31m", ())
    legs = (LegSeen(odd.name, "turn", "relayed", LoadSeen(1, 1), None),)
    drawing = as_svg(replace(path, devices=(odd,), legs=legs))
    assert "<b " not in drawing
    assert "\x1b" not in drawing
    ET.fromstring(drawing)


def test_more_devices_than_can_be_drawn_are_a_grid_of_the_same_numbers():
    path = among(5, "turn")
    assert as_svg(path) == ""
    grid = as_grid(path)
    assert len(grid.rows) == 6
    assert len(grid.marks) == 5 * 4 + 2 * 5
    assert {mark.words for mark in grid.marks.values()} == {"123,456 packets, 98.8 MB + 12.3 MB TCP"}


def test_a_line_of_text():
    path = path_seen(paths.of_call(RELAYED_BOTH, CALL, sides(500, 400), ledger(500, 400)), CALL)
    assert as_text(path) == (
        "media: relayed(turn), by counters at the edges and agents and the relay's ledger. "
        "alice to turn 500 packets, 100.0 kB; turn to alice 400 packets, 80.0 kB; "
        "bob to turn 400 packets, 80.0 kB; turn to bob 500 packets, 100.0 kB."
    )
