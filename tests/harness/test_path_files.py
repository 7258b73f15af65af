"""The files of a path: what a record names as evidence can be looked at, read by programs, and read aloud."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

from harness.report.artefacts import keep
from harness.report.path_drawing import as_text

from .records import RELAYED


def test_a_path_is_kept_as_drawing_figures_and_words(tmp_path):
    files = keep(RELAYED, tmp_path / "evidence", "home x symmetric/NAT64")
    assert [file.name for file in files] == [
        f"path-home-x-symmetric-NAT64.{kind}" for kind in ("svg", "json", "txt")
    ]
    drawing, figures, words = files
    assert ET.parse(drawing).getroot().findtext("{*}desc") == as_text(RELAYED)
    assert "stroke" in (ET.parse(drawing).getroot().findtext("{*}style") or "")
    assert json.loads(figures.read_text()) == json.loads(json.dumps(RELAYED.to_json()))
    assert words.read_text() == f"{as_text(RELAYED)}\n"


def test_two_paths_of_one_check_stand_side_by_side(tmp_path):
    kept = {*keep(RELAYED, tmp_path, "joining"), *keep(RELAYED, tmp_path, "media")}
    assert set(tmp_path.iterdir()) == kept
    assert len(kept) == 6


def test_more_devices_than_can_be_drawn_are_kept_as_figures_and_words(tmp_path):
    four = replace(RELAYED, devices=RELAYED.devices * 2)
    assert [file.suffix for file in keep(four, tmp_path, "swarm")] == [".json", ".txt"]
