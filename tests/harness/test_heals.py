"""Whoever says that something is missing says what to type, too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.calls import agent
from harness.hosts import MissingCapability
from harness.network.namespace import program
from harness.network.preflight import TRIALS

PACKAGE = Path(harness.__file__).parent


def claims(source: str) -> Iterator[tuple[int, bool]]:
    """Where a `MissingCapability` or a `Missing` is made: the line, and whether with what heals it."""
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Call) and name in ("MissingCapability", "Missing"):
            heals = [each.value for each in node.keywords if each.arg == "heal"]
            if name == "Missing":
                heals += node.args[1:2]
            yield node.lineno, any(not isinstance(each, ast.Constant) or each.value for each in heals)


def test_every_place_names_what_heals():
    found = {
        f"{path.relative_to(PACKAGE)}:{line}": heals
        for path in PACKAGE.rglob("*.py")
        for line, heals in claims(path.read_text())
    }
    assert len(found) >= 20, "the walk finds nothing any more"
    assert not [place for place, heals in found.items() if not heals]


@pytest.mark.parametrize(
    "line",
    [
        "raise MissingCapability('nft', 'it is gone')",
        "raise MissingCapability('nft', 'it is gone', heal='')",
        "Missing('it is gone')",
        "Missing('it is gone', '')",
    ],
)
def test_the_walk_finds_who_does_not(line):
    assert list(claims(line)) == [(1, False)]


def test_the_text_ends_with_the_command():
    missing = MissingCapability("nft", "nft is not installed", heal="apt-get install nftables")
    assert str(missing) == "capability nft: nft is not installed: apt-get install nftables"


def test_every_trial_of_the_preflight_has_one():
    assert all(trial.heal for trial in TRIALS.values())


@pytest.mark.parametrize(
    ("name", "package"), [("nft", "nftables"), ("iptables-nft", "iptables"), ("tayga", "tayga")]
)
def test_a_program_comes_from_its_package(name, package, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name, **_more: None)
    with pytest.raises(MissingCapability, match=rf"{name} is not installed: apt-get install {package}$"):
        program(name)


def test_calls_without_aiortc_name_the_extra(monkeypatch):
    monkeypatch.setattr(agent, "calls_are_possible", lambda: False)
    with pytest.raises(MissingCapability, match=r"pip install 'dc-harness\[calls\]'"):
        agent.require_agents()
