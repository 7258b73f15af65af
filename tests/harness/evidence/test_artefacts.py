"""The files of a path: what a record names as evidence can be looked at, read by programs, and read aloud."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from harness.evidence import paths
from harness.evidence.artefacts import keep
from harness.evidence.drawing import as_json, as_text

from .recorded import CALL, RELAYED_BOTH, sides


def test_a_path_is_kept_as_drawing_figures_and_words(tmp_path):
    path = paths.of_call(RELAYED_BOTH, CALL, sides(500, 400), None)
    files = keep(path, CALL, tmp_path / "evidence", "home x symmetric/NAT64")
    assert [file.name for file in files] == [
        f"path-home-x-symmetric-NAT64.{kind}" for kind in ("svg", "json", "txt")
    ]
    drawing, figures, words = files
    assert ET.parse(drawing).getroot().findtext("{*}desc") == as_text(path)
    assert json.loads(figures.read_text()) == json.loads(json.dumps(as_json(path)))
    assert words.read_text().splitlines() == as_text(path).splitlines()
    assert len(words.read_text().splitlines()) == 2


def test_two_paths_of_one_check_stand_side_by_side(tmp_path):
    path = paths.of_call(RELAYED_BOTH, CALL, sides(500, 400), None)
    kept = {*keep(path, CALL, tmp_path, "joining"), *keep(path, CALL, tmp_path, "media")}
    assert set(tmp_path.iterdir()) == kept
    assert len(kept) == 6
