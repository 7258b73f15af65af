"""Which peer is at which end of a call."""

from __future__ import annotations

import pytest

from harness.calls.kinds import AIORTC, CHROMIUM, PeerChoice
from harness.clients.browser.chromium import PROGRAMS
from harness.hosts import MissingCapability


@pytest.mark.parametrize(
    ("texts", "alice", "bob"),
    [
        ([], AIORTC, AIORTC),
        (["chromium"], CHROMIUM, CHROMIUM),
        (["alice=chromium,bob=aiortc"], CHROMIUM, AIORTC),
        (["chromium", "bob=aiortc"], CHROMIUM, AIORTC),
    ],
)
def test_a_kind_is_for_one_device_or_for_all(texts, alice, bob):
    choice = PeerChoice.parse(texts)
    for device in ("alice", "alice in home", "alice (wifi to mobile)"):
        assert choice.for_device(device) is alice
    assert choice.for_device("bob") is bob


@pytest.mark.parametrize(("texts", "calls"), [([], 3), (["chromium"], 1), (["bob=chromium"], 1)])
def test_calls_of_browsers_are_made_one_at_a_time(texts, calls):
    assert PeerChoice.parse(texts).at_once(3) == calls


def test_people_get_call_windows_besides_what_was_chosen():
    choice = PeerChoice.parse(["alice=chromium"]).with_windows(("bob",))
    choice.require_windows(("alice", "bob"))
    assert choice.for_device("bob") is CHROMIUM and choice.for_device("carol") is AIORTC
    with pytest.raises(
        MissingCapability, match=r"carol's devices have no call window: --peer carol=chromium"
    ):
        choice.require_windows(("bob", "carol"))


@pytest.mark.parametrize("text", ["firefox", "alice=", "=chromium", "", "alice=chrome"])
def test_what_is_no_kind_is_told_with_those_that_there_are(text):
    with pytest.raises(
        ValueError, match=r"--peer: .* is none like chromium .*; there are aiortc and chromium"
    ):
        PeerChoice.parse([text])


def test_a_browser_that_is_missing_is_told_with_the_command_that_brings_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingCapability) as missing:
        PeerChoice.parse(["bob=chromium"]).require()
    assert str(missing.value) in (
        "capability chromium: Chromium is not installed: ./setup --browser",
        "capability chromium: selenium is not installed: ./setup --browser",
    )


def test_a_call_ui_that_was_not_fetched_is_told_likewise(monkeypatch, tmp_path):
    for name in PROGRAMS:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    pytest.importorskip("selenium")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DC_HARNESS_CALL_UI", raising=False)
    with pytest.raises(MissingCapability, match=r"Delta Chat's call UI was not fetched: ./setup --browser"):
        PeerChoice.parse(["chromium"]).require()
    monkeypatch.setenv("DC_HARNESS_CALL_UI", str(tmp_path / "mine.html"))
    with pytest.raises(
        MissingCapability, match=r"DC_HARNESS_CALL_UI is .*mine.html, and there is no such file"
    ):
        PeerChoice.parse(["chromium"]).require()
