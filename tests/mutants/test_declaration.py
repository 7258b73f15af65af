"""Mutants by decorator: declared above their behaviour, found by name, and no more loaded than the one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mutants import declaration
from mutants.declaration import ROOMS, all_mutants, find

LOADED = """
import sys
from mutants.declaration import find
found = find(sys.argv[1])
print(*sorted(name for name in sys.modules if name.startswith(("mutants.", "reference_server."))))
"""


def test_a_mutant_bears_the_name_of_its_function():
    assert all(name == each.name == each.make.__name__ for name, each in all_mutants().items())


@pytest.mark.parametrize("name", ["", "no_such_mutant", ".*", "find"])
def test_what_is_no_mutant_is_not_found(name):
    assert find(name) is None


def test_a_declaration_leaves_the_function_as_it_is(monkeypatch):
    def wrong(settings):
        return settings

    monkeypatch.setattr(declaration, "_declared", {})
    assert declaration.mutant("mail", "does nothing", kills={"mail.idle": "no EXISTS"})(wrong) is wrong
    [(name, declared)] = declaration.all_mutants().items()
    assert (name, declared.service, declared.kills) == ("wrong", "mail", {"mail.idle": "no EXISTS"})


def loaded_for(name):
    ended = subprocess.run([sys.executable, "-c", LOADED, name], check=True, capture_output=True, text=True)
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    ("name", "room", "service"),
    [
        ("irohrelay_missing", "mail", "mail"),
        ("relay_delivers_twice", "relay", "iroh_relay"),
        ("turn_few_places", "turn", "turn"),
        ("turn_ledger_doubles", "ledgers", None),
        ("mail_on_ipv4_only", "addresses", None),
    ],
)
def test_only_the_mutated_service_is_loaded(name, room, service):
    loaded = loaded_for(name)
    assert {each for each in ROOMS if f"mutants.{each}" in loaded} == {room}
    services = {
        each for each in ("mail", "iroh_relay", "turn") if f"reference_server.{each}.service" in loaded
    }
    assert services == ({service} if service else set())
