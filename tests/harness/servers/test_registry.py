import re
from pathlib import Path

import pytest

from harness.servers import registry
from harness.servers.registry import server_of


@pytest.fixture
def seen(monkeypatch) -> dict[str, Path | None]:
    """Names with the paths that their factories were given."""
    found: dict[str, Path | None] = {}

    def watched(name, factory):
        def make(path):
            found[name] = path
            return factory(path)

        return make

    factories = {name: watched(name, factory) for name, factory in registry.SERVERS.items()}
    monkeypatch.setattr(registry, "SERVERS", factories)
    return found


def test_a_composition_is_named_by_its_parts():
    assert server_of("reference").name == "reference"
    assert server_of("reference+coturn+iroh-relay=/usr/bin/iroh-relay").name == "reference+coturn+iroh-relay"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("cotrun", r"there is no server 'cotrun', there are .*; did you mean coturn\?"),
        ("reference+iroh_relay=/x", r"no server 'iroh_relay', .*; did you mean iroh-relay\?"),
        ("reference+", "there is no server ''"),
        ("", "there is no server ''"),
        ("somebody", "there is no server 'somebody', there are reference, "),
        ("reference=/opt/server", "reference is part of this installation: leave /opt/server out"),
        ("reference+coturn=", "coturn= lacks the path of the program"),
        ("coturn", r"coturn has no mail: .*reference\+coturn"),
    ],
)
def test_what_is_no_server_is_said(text, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        server_of(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/opt/c++/iroh-relay", "/opt/a+b/iroh-relay", "../c++", "/a/b+c-1.0+d/r"])
def test_a_path_may_have_a_plus(path, seen):
    server_of(f"reference+iroh-relay={path}+coturn")
    assert seen == {"reference": None, "iroh-relay": Path(path), "coturn": None}


def test_a_path_that_exists_is_meant(tmp_path, seen):
    program = tmp_path / "relay+coturn"
    program.touch()
    server_of(f"reference+iroh-relay={program}")
    assert seen == {"reference": None, "iroh-relay": program}


def test_a_plus_ends_a_path_that_exists(tmp_path, seen):
    program = tmp_path / "c++" / "relay"
    program.parent.mkdir()
    program.touch()
    server_of(f"reference+iroh-relay={program}+coturn")
    assert seen == {"reference": None, "iroh-relay": program, "coturn": None}


def test_every_server_of_the_registry_has_its_name():
    for name, factory in registry.SERVERS.items():
        server = factory(None)
        assert server.name == name
        assert re.fullmatch(registry.NAME, name)


def test_a_mutant_is_a_server_by_its_name():
    assert server_of("mutant=relay_delivers_twice").name == "mutant=relay_delivers_twice"
