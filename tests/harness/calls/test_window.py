"""Real call windows: Delta Chat's own call UI in Chromium, at one end of a call or both."""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("aiortc", reason="capability calls: aiortc is not installed: ./setup")

from harness.calls.kinds import AIORTC, CHROMIUM, PeerKind
from harness.calls.peers import IceServer, NoRelayCandidate, PeerDied, PeerError, Settings
from harness.calls.process import PeerProcess
from harness.calls.quality import MachineTooSlow
from harness.hosts import LocalHost, MissingCapability
from harness.keeper import children_of
from harness.scratch import PREFIX
from harness.steps.call_windows import states_of
from harness.waiting import WaitTimeout, wait_until

START_WITHIN = 90
VIDEO = (320, 240, 15.0)
SLACK = 3
"""Packets that may be on their way."""
TOO_SLOW = re.compile(r"machine too slow|within \d+ s")
"""What is said where a browser gets too little of a busy machine."""
IMPATIENT = """
import sys
from harness.calls import window_program
from harness.clients.browser import chromium
window_program.READY_WITHIN, window_program.FEW_ANSWERS, chromium.LOAD_WITHIN = 3.0, 6, 5.0
sys.exit(window_program.main(*sys.argv[1:]))
"""
"""The program of a window that waits less for what will never be there."""


@pytest.fixture(autouse=True)
def _needs_chromium() -> None:
    try:
        CHROMIUM.require()
    except MissingCapability as missing:
        pytest.skip(str(missing))


@pytest.fixture
def started(tmp_path) -> Iterator[Callable[[PeerKind, str], PeerProcess]]:
    """Starts peers, which end with the test."""
    with ExitStack() as stack:

        def start(kind: PeerKind, name: str) -> PeerProcess:
            peer: PeerProcess = stack.enter_context(kind.start(tmp_path, name, LocalHost(), None))
            try:
                peer.wait_for("ready", within=START_WITHIN)
            except WaitTimeout as slow:
                pytest.skip(f"machine too slow: {slow}")
            return peer

        yield start


def offspring(pid: int) -> list[int]:
    found = children_of(pid)
    return [*found, *(each for child in found for each in offspring(child))]


def connect(alice: PeerProcess, bob: PeerProcess, **settings) -> None:
    offer = alice.offer(Settings((), 1, 2, **settings))
    alice.set_answer(bob.answer(Settings((), 2, 1, **settings), offer))
    for peer in (alice, bob):
        peer.wait_for("connection", within=30, state="connected")
        for label in ("mutedState", "harness"):
            peer.wait_for("channel", within=30, label=label)
        peer.wait_for("first", within=30, media="audio")


@pytest.mark.nightly
@pytest.mark.parametrize("kinds", [(CHROMIUM, CHROMIUM), (CHROMIUM, AIORTC), (AIORTC, CHROMIUM)])
def test_each_side_hears_and_sees_the_other_and_both_count_alike(started, kinds, tmp_path):
    alice, bob = (started(kind, name) for kind, name in zip(kinds, ("alice", "bob"), strict=True))
    connect(alice, bob, video=VIDEO)
    for peer in (alice, bob):
        peer.send_numbers(50)
    for peer in (alice, bob):
        wait_until(lambda peer=peer: peer.stats().played > 3, "talking", within=60)  # type: ignore[misc]
        wait_until(lambda peer=peer: peer.stats().numbers_received == 50, "numbers", within=60)  # type: ignore[misc]
    for peer in (alice, bob):
        peer.pause()

    def settled():
        one, other = alice.stats().traffic, bob.stats().traffic
        lost = (one.packets_sent - other.packets_received, other.packets_sent - one.packets_received)
        return all(abs(each) <= SLACK for each in lost)

    wait_until(settled, "all packets to arrive", within=10, seen=lambda: (alice.stats(), bob.stats()))
    try:
        for peer in (alice, bob):
            peer.stats().check_pace(peer.name)
    except MachineTooSlow as slow:
        pytest.skip(str(slow))
    for peer, other in ((alice, bob), (bob, alice)):
        assert peer.stats().numbers_in_order
        assert str(peer.stats().pair) == "host to host"
        report = peer.report(other)
        assert report.audio is not None and report.video is not None
        assert report.audio.known * report.audio.seconds > 2.5
        assert not report.audio.others and not report.audio.jumps
        assert report.video.frames > 30 and not report.video.foreign
        assert report.video.unreadable <= 2
        assert report.packets > 100 and report.packets_lost == 0
    for peer in (alice, bob):
        peer.hang_up()
    windows = [peer for peer, kind in zip((alice, bob), kinds, strict=True) if kind is CHROMIUM]
    for window in windows:
        states = [state for state, _ in states_of(window)]
        assert states[0] in ("Connecting...", "Ringing...", "Incoming call") and states[-1] == "ended"
        assert any("P2P" in state or state == "in call" for state in states)
    assert len(list(tmp_path.glob("*.window.*-ended.png"))) == len(windows)


@pytest.mark.nightly
def test_a_call_of_sound_alone_is_told_as_such_until_the_camera_is_started(started):
    """The UI sends black pictures meanwhile, as for a camera that was stopped."""
    alice, bob = started(CHROMIUM, "alice"), started(AIORTC, "bob")
    connect(alice, bob)
    alice.stats()  # which looks at the page
    assert "Start camera" in alice.events("shown")[-1].fields["buttons"]
    told = bob.wait_for("muted", "what alice sends", within=20)
    assert told.fields == {"audioEnabled": True, "videoEnabled": False}
    alice.mute(audio=False, video=False)
    bob.wait_for("muted", "that alice's camera is on", within=20, videoEnabled=True)


@pytest.mark.nightly
def test_what_a_person_mutes_is_silent_and_black_and_told_to_the_other_side(started):
    alice, bob = started(CHROMIUM, "alice"), started(AIORTC, "bob")
    connect(alice, bob, video=VIDEO)
    told = len(bob.events("muted"))
    alice.mute(audio=True, video=True)
    wait_until(lambda: len(bob.events("muted")) > told + 1, "bob to be told of both", within=20)
    assert bob.events("muted")[-1].fields == {"audioEnabled": False, "videoEnabled": False}
    wait_until(
        lambda: {"Unmute microphone", "Start camera"} <= set(alice.events("shown")[-1].fields["buttons"]),
        "the buttons to change",
        within=20,
    )


@pytest.mark.nightly
def test_turn_that_does_not_answer_is_named(started):
    window = started(CHROMIUM, "alice")
    servers = (IceServer(("turn:127.0.0.1:9",), "1", "x"),)
    with pytest.raises(NoRelayCandidate, match=r"alice: no relay candidate from turn:127.0.0.1:9: "):
        window.offer(Settings(servers, 1, 2, policy="relay"))


@pytest.fixture
def scratch(monkeypatch) -> Iterator[Path]:
    """Where programs of this test alone write; its name is short, as browsers need it for their sockets."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o711)  # for users of their own
        monkeypatch.setenv("TMPDIR", directory)
        yield Path(directory)


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr("harness.calls.window.WINDOW_COMMAND", (sys.executable, "-P", "-c", IMPATIENT))


def test_a_browser_that_dies_in_a_call_is_told_and_nothing_of_it_is_left(scratch, started):
    window = started(CHROMIUM, "alice")
    try:
        window.offer(Settings((), 1, 2))
    except (MachineTooSlow, PeerError) as slow:
        if not TOO_SLOW.search(str(slow)):
            raise
        pytest.skip(str(slow))
    assert list(scratch.glob(f"{PREFIX}browser-*"))
    family = offspring(window.pid)
    browser, *_ = [each for each in family if _is_browser(each)]
    os.kill(browser, signal.SIGKILL)
    with pytest.raises(
        (PeerError, MachineTooSlow),
        match=rf"the browser has ended, or does not answer|the peer alice has ended|{TOO_SLOW.pattern}",
    ):
        window.stats()
    window.close()
    assert not [each for each in family if Path(f"/proc/{each}").exists()]
    assert not list(scratch.iterdir())


def test_another_ui_is_told_as_such(started, impatient, tmp_path, monkeypatch):
    page = tmp_path / "other.html"
    page.write_text("<p>Hello</p>")
    monkeypatch.setenv("DC_HARNESS_CALL_UI", str(page))
    with pytest.raises(
        (PeerError, MachineTooSlow),
        match=rf"alice: the call UI has no button 'End call' after 3 s: it is another UI|{TOO_SLOW.pattern}",
    ):
        started(CHROMIUM, "alice").offer(Settings((), 1, 2))


def test_a_page_that_never_loads_is_told_as_such(started, impatient, tmp_path, monkeypatch):
    page = tmp_path / "endless.html"
    page.write_text("<script>for (;;) ;</script>")
    monkeypatch.setenv("DC_HARNESS_CALL_UI", str(page))
    with pytest.raises(
        (PeerError, MachineTooSlow), match=r"alice: the page did not load within 5 s|too slow"
    ):
        started(CHROMIUM, "alice").offer(Settings((), 1, 2))


def test_a_browser_that_does_not_start_is_told_in_a_sentence(started, tmp_path, monkeypatch):
    """Here it ends at once; a chromedriver of another version is told by its own words."""
    for name in ("chromium", "chromedriver"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(PeerDied, match=r"the peer alice has ended(.|\n)*Chromium does not start: "):
        started(CHROMIUM, "alice")


def _is_browser(pid: int) -> bool:
    """The first process of Chromium, which starts the others."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return False
    return b"/chromium" in words.partition(b"\0")[0] and b"--type=" not in words and b"crashpad" not in words
