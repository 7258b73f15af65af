"""What this machine can do is found by trying, and said."""

import shutil

import pytest

from harness.hosts import MissingCapability
from harness.network import preflight as module
from harness.network.lab import Lab
from harness.network.preflight import TRIALS, Level, Preflight, preflight


def test_everything_is_either_found_or_missing_with_a_reason():
    result = preflight()
    assert set(result.found) | set(result.missing) == {"netns", *TRIALS}
    assert not set(result.found) & set(result.missing)
    assert all(result.missing.values())
    assert (result.level is Level.LOOPBACK) == ("netns" in result.missing)


@pytest.mark.usefixtures("lab")
def test_a_program_that_is_not_there_is_named(monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "nft" else which(name, **more))
    result = preflight.__wrapped__()
    assert "lab: without nft: the program nft is not installed" in result.sentences()
    result.require("netns")
    with pytest.raises(MissingCapability, match="nft is not installed"):
        result.require("netns", "nft")


def test_a_machine_without_networks_has_no_lab(monkeypatch):
    monkeypatch.setattr(module, "enter_user_namespace", lambda: "this user may not make namespaces")
    result = preflight.__wrapped__()
    assert result.level is Level.LOOPBACK
    assert result.sentences() == [
        "lab: level loopback, no networks of our own: this user may not make namespaces"
    ]
    monkeypatch.setattr("harness.network.lab.preflight", lambda: result)
    with pytest.raises(MissingCapability, match="capability netns: this user may not make namespaces"):
        Lab()


def test_a_report_begins_with_one_sentence_for_each():
    result = Preflight(Level.USERNS, {"netns": "networks of our own"}, {"netem": "the kernel has none"})
    assert result.sentences() == [
        "lab: level userns, netns (networks of our own)",
        "lab: without netem: the kernel has none",
    ]
