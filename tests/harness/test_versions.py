"""Other versions of core: which device runs which, where their binaries come from, and what differs between them."""

from __future__ import annotations

import ensurepip
import hashlib
import json
import os
import shutil
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.clients.core import versions
from harness.clients.core.eras import ANNOUNCED, era_of
from harness.clients.core.errors import CoreUnusable
from harness.clients.core.versions import WHEELS, CoreBinary, CoreChoice, bundled_binary, cache_directory
from harness.hosts import LocalHost, MissingCapability

WHEEL = "deltachat_rpc_server-9.9.0-py3-none-any.whl"
DIST_INFO = "deltachat_rpc_server-9.9.0.dist-info"
NODE_ID = "43f2560004" + "aa" * 27
core_binary = versions.core_binary.__wrapped__  # without the memory of this process


@pytest.mark.parametrize(
    ("texts", "default", "by_device"),
    [
        ([], None, {}),
        (["2.20.0"], "2.20.0", {}),
        (["alice=1.160.0,bob=2.65.0"], None, {"alice": "1.160.0", "bob": "2.65.0"}),
        (["2.50.0", "bob=2.0.0"], "2.50.0", {"bob": "2.0.0"}),
    ],
)
def test_a_choice_of_versions(texts, default, by_device):
    choice = CoreChoice.parse(texts)
    assert (choice.version, choice.by_device) == (default, by_device)


@pytest.mark.parametrize("text", ["", "newest", "=2.0.0", "alice=", "2.20.0,", "../../2.0.0", "2.0.0 --pre"])
def test_what_is_no_version_is_named(text):
    with pytest.raises(ValueError, match="no version of core like"):
        CoreChoice.parse([text])


def test_a_program_is_for_the_devices_without_a_version():
    program = Path(sys.executable)
    choice = CoreChoice.parse([f"bob={metadata.version(versions.PACKAGE)}"], program)
    assert choice.for_device("alice").path == program
    assert choice.for_device("bob").path == choice.for_device("bob in home").path == bundled_binary()
    with pytest.raises(ValueError, match="not both"):
        CoreChoice.parse(["2.0.0"], program)


def test_the_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "dc-harness" / "cores"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_directory() == Path.home() / ".cache" / "dc-harness" / "cores"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A directory in place of the package index, with a wheel whose binary is a few bytes."""
    directory = tmp_path / "index"
    directory.mkdir()
    with zipfile.ZipFile(directory / WHEEL, "w") as archive:
        archive.writestr(versions.MEMBER, b"#!/bin/sh\n")
        archive.writestr(
            f"{DIST_INFO}/METADATA", "Metadata-Version: 2.1\nName: deltachat-rpc-server\nVersion: 9.9.0\n"
        )
        archive.writestr(
            f"{DIST_INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{DIST_INFO}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if versions._pip()[0].endswith("uv"):
        serve_pip_to_uv(directory, monkeypatch)
    return directory


def serve_pip_to_uv(directory, monkeypatch):
    """Let `uv tool run pip` find the wheel that Python itself brings, in place of asking an index for pip."""
    places = (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))
    bundled = [wheel for place in places for wheel in place.glob("pip-*.whl")]
    if not bundled:
        raise MissingCapability("pip", "there is no wheel of pip", heal="apt-get install python3-venv")
    shutil.copy(bundled[0], directory)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(directory))


def test_a_wheel_becomes_a_program_and_its_hash_is_said(index):
    sha256 = hashlib.sha256((index / WHEEL).read_bytes()).hexdigest()
    found = core_binary("9.9.0")
    assert found == CoreBinary(cache_directory() / "9.9.0" / versions.BINARY, WHEEL, sha256)
    assert found.path.read_bytes() == b"#!/bin/sh\n"
    assert os.access(found.path, os.X_OK)
    assert found.origin == f"wheel not pinned, sha256 {sha256}"
    (index / WHEEL).unlink()
    assert core_binary("9.9.0") == found  # from the cache


def test_two_that_download_at_once_get_the_same(index):
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(core_binary, ["9.9.0", "9.9.0"])
    assert first == second
    assert [each.name for each in cache_directory().iterdir()] == ["9.9.0"]


def test_a_wheel_with_another_hash_is_not_used(index, monkeypatch):
    monkeypatch.setitem(WHEELS, WHEEL, "00" * 32)
    with pytest.raises(CoreUnusable, match="not the published wheel"):
        core_binary("9.9.0")
    assert list(cache_directory().iterdir()) == []


def test_a_cached_wheel_with_another_hash_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = cache_directory() / "2.20.0"
    place.mkdir(parents=True)
    wheel = f"deltachat_rpc_server-2.20.0-{versions.LINUX_X86_64}.whl"
    (place / versions.ORIGIN).write_text(json.dumps({"wheel": wheel, "sha256": "00" * 32}))
    with pytest.raises(CoreUnusable, match="not the published wheel"):
        core_binary("2.20.0")


def test_a_version_that_the_index_does_not_have_is_an_error(index):
    with pytest.raises(CoreUnusable, match=r"no deltachat-rpc-server 9\.9\.1"):
        core_binary("9.9.1")


def test_no_index_is_a_missing_capability(index):
    (index / WHEEL).unlink()
    with pytest.raises(MissingCapability, match="capability package_index"):
        core_binary("9.9.0")


def test_no_pip_is_a_missing_capability(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingCapability, match="neither pip nor uv"):
        core_binary("2.20.0")


@pytest.mark.parametrize(
    ("version", "batched", "needs_turn"),
    [
        ("v1.160.0", False, False),
        ("2.34.0", False, False),
        ("2.35.0", False, True),
        ("2.37.0", False, True),
        ("2.38.0", False, False),
        ("v2.65.0", True, False),
        ("v2.66.0-dev", True, False),
        ("a build of mine", True, False),
    ],
)
def test_each_version_has_its_era(version, batched, needs_turn):
    era = era_of(version)
    assert (era.batched_events, era.needs_turn) == (batched, needs_turn)


def test_a_version_that_was_never_tried_is_refused():
    with pytest.raises(ValueError, match=r"from 1\.160\.0 on"):
        era_of("v1.159.5")


class OneByOne:
    def __init__(self, *events):
        self._events = [*events, None]

    def get_next_event(self):
        return self._events.pop(0)

    def get_next_event_batch(self):
        raise AssertionError("Method not found")


def test_events_that_come_one_by_one_are_batches_of_one():
    source = OneByOne({"contextId": 1})
    assert era_of("2.0.0").next_events(source) == [{"contextId": 1}]
    assert era_of("2.0.0").next_events(source) == []


@pytest.mark.parametrize(
    "line",
    [
        f"src/peer_channels.rs:370: Adding iroh peer with node id {NODE_ID} to the topic of Msg#16.",
        rf'src/peer_channels.rs:351: Adding iroh peer with address "{{\"node_id\":\"{NODE_ID}\",'
        r'\"relay_url\":\"http://127.64.85.116:42493/\",\"direct_addresses\":[]}" to the topic of Msg#16.',
    ],
)
def test_announcements_of_every_era_are_read(line):
    found = ANNOUNCED.search(line)
    assert found is not None
    assert found.groups() == (NODE_ID, "16")


@pytest.mark.parametrize(("version", "told"), [("2.20.0", (1, 2, "SDP")), ("2.40.0", (1, 2, "SDP", True))])
def test_whether_a_call_has_video_is_told_to_cores_that_take_it(version, told):
    calls: list[tuple[object, ...]] = []

    def place_outgoing_call(*words: object) -> int:
        calls.append(words)
        return 7

    source = SimpleNamespace(place_outgoing_call=place_outgoing_call)
    assert era_of(version).place_call(source, 1, 2, "SDP", has_video=True) == 7
    assert calls == [told]


def test_the_newest_version_is_what_the_index_says(monkeypatch):
    known = "deltachat-rpc-server (2.66.1)\nAvailable versions: 2.66.1, 2.65.0"
    answers = [known, "ERROR: No matching distribution found"]
    monkeypatch.setattr(versions, "_ask_pip", lambda *_words: (0, answers.pop(0)))
    assert versions.newest_version(LocalHost()) == "2.66.1"
    with pytest.raises(MissingCapability, match="capability package_index: ERROR: No matching"):
        versions.newest_version(LocalHost())
