"""A call window contacts nobody by itself: what a browser says of its own accord is switched off."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("aiortc", reason="capability calls: aiortc is not installed: ./setup")

from harness.calls import window
from harness.calls.kinds import CHROMIUM
from harness.calls.peers import Settings
from harness.calls.window import Window
from harness.evidence.edges import Edges
from harness.hosts import MissingCapability
from harness.network.lab import Lab

ALONE = 10.0
"""Seconds after its start for which a window is watched. A browser with none of the switches asks for names at once."""
WITHOUT = """
import sys
from harness.clients.browser import chromium
from harness.calls.window_program import main
chromium.FLAGS = tuple(each for each in chromium.FLAGS if not each.startswith({switches!r}))
sys.exit(main(*sys.argv[1:]))
"""

pytestmark = pytest.mark.nightly


@pytest.fixture(autouse=True)
def _needs_chromium() -> None:
    try:
        CHROMIUM.require()
    except MissingCapability as missing:
        pytest.skip(str(missing))


def contacted(tmp_path: Path) -> tuple[list[str], list[str]]:
    """Addresses that a window sent to while it was alone with a call that nobody takes, and names that it asked for."""
    with Lab() as lab:
        host = lab.server("alice")
        with Edges([host]) as edges, Window(tmp_path, "alice", host=host) as alone:
            alone.wait_for("ready", within=90)
            until = time.monotonic() + ALONE
            alone.offer(Settings((), 1, 2))
            # Nothing is waited for: a span that has to pass, in which nothing may leave.
            time.sleep(max(0.0, until - time.monotonic()))
            sent = {flow.destination.address for flow in edges.now([host.name])[host.name].tx.rows}
        asked = sorted({each.name for each in lab.names.queries})
    return sorted(each for each in sent if not each.startswith(("ff", "224."))), asked


def test_a_window_contacts_nobody(tmp_path):
    assert contacted(tmp_path) == ([], [])


def test_without_its_switches_it_would(tmp_path, monkeypatch):
    switches = ("--host-resolver-rules", "--disable-background-networking", "--disable-component-update")
    program = (sys.executable, "-P", "-c", WITHOUT.format(switches=switches))
    monkeypatch.setattr(window, "WINDOW_COMMAND", program)
    _addresses, asked = contacted(tmp_path)
    assert asked
