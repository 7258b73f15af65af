"""What this machine can do is found by trying, and said."""

import shutil

import pytest

from harness.doors import machine
from harness.hosts import MissingCapability, how_to_allow_namespaces
from harness.network import preflight as module
from harness.network.lab import Lab
from harness.network.preflight import PROOFS, TRIALS, Level, Missing, Preflight, preflight


def test_everything_is_either_found_or_missing_with_a_reason():
    result = preflight()
    assert set(result.found) | set(result.missing) == {"netns", *TRIALS}
    assert not set(result.found) & set(result.missing)
    assert all(missing.reason and missing.heal for missing in result.missing.values())
    assert (result.level is Level.LOOPBACK) == ("netns" in result.missing)


@pytest.mark.usefixtures("lab")
def test_a_program_that_is_not_there_is_named(monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "nft" else which(name, **more))
    result = preflight.__wrapped__()
    assert "lab: without nft: nft is not installed: apt-get install nftables" in result.sentences()
    result.require("netns")
    with pytest.raises(
        MissingCapability, match="capability nft: nft is not installed: apt-get install nftables"
    ):
        result.require("netns", "nft")
    can, cannot = result.proofs()
    assert "direct and relayed paths" in can
    assert str(cannot["kinds of NAT"]) == "nft is not installed: apt-get install nftables"


def test_a_machine_without_networks_has_no_lab(monkeypatch):
    why = Missing("this user may not make namespaces", "run it as root")
    monkeypatch.setattr(module, "enter_user_namespace", lambda: why)
    result = preflight.__wrapped__()
    assert result.level is Level.LOOPBACK
    assert result.sentences() == [
        "lab: level loopback, no networks of our own: this user may not make namespaces: run it as root"
    ]
    assert result.proofs() == ([], dict.fromkeys(PROOFS, why))
    monkeypatch.setattr("harness.network.lab.preflight", lambda: result)
    with pytest.raises(MissingCapability, match="capability netns: this user may not make namespaces"):
        Lab()


def test_a_report_begins_with_one_sentence_for_each():
    missing = {"netem": Missing("the kernel has none", "modprobe sch_netem")}
    result = Preflight(Level.USERNS, {"netns": "networks of our own"}, missing)
    assert result.sentences() == [
        "lab: level userns, netns (networks of our own)",
        "lab: without netem: the kernel has none: modprobe sch_netem",
    ]


@pytest.mark.parametrize(
    ("name", "forbids", "heal"),
    [
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"),
    ],
)
def test_a_setting_that_forbids_namespaces_is_named_with_one_that_allows_them(tmp_path, name, forbids, heal):
    setting = tmp_path / name
    setting.parent.mkdir()
    setting.write_text(f"{forbids}\n")
    assert how_to_allow_namespaces(tmp_path) == heal
    setting.write_text("2\n")
    assert "as root" in how_to_allow_namespaces(tmp_path)


def test_the_last_line_of_the_set_up_names_what_can_be_proven_and_what_heals_the_rest():
    nft, tc = (
        Missing("nft is not installed", "apt-get install nftables"),
        Missing("no tbf", "modprobe sch_tbf"),
    )
    missing = {"kinds of NAT": nft, "narrow links": tc, "IPv4 servers for IPv6 alone": nft}
    assert machine.line(["direct and relayed paths", "calls"], missing) == (
        "This machine can prove: direct and relayed paths, calls. It cannot prove: kinds of NAT, IPv4 servers for IPv6 "
        "alone (nft is not installed: apt-get install nftables); narrow links (no tbf: modprobe sch_tbf)"
    )
    assert machine.line(["calls"], {}) == "This machine can prove: calls. All is there."
