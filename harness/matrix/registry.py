"""`interop.toml`, the registry of a matrix: read whole and strictly, before anything runs.

reference = { server = "reference", client = "newest" }
clients = ["2.20.0", "2.50.0", "newest"]
peers = ["aiortc"]
networks = ["home:home", "home:symmetric"]
must = ["call"]

[servers.reference]
kind = "reference"                  # as in --server
[servers.live]
domain = "chat.example.org"         # as in --domain
[servers.wrong]
kind = "mutant=turn_other_secret"   # negative control: there must be one

[scenarios.call]
check = "calls_paths.calls_take_the_expected_path"

[[known]]
scenario = "call"
server = "live"
owner = "alice@example.org"
expires = 2026-12-31
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..calls.kinds import KINDS
from ..clients.core.eras import era_of
from ..network.pairs import pair_of
from ..report.cells import ExpectedRed
from ..servers.registry import MUTANT, server_of
from ..servers.remote import remote_target
from ..servers.toml_table import TomlTable, read_toml
from ..stage.check import Check

__all__ = ["NEWEST", "PEERS", "Interop", "Scenario", "ServerEntry", "known", "read_interop", "version"]

NEWEST = "newest"
"""In place of a version: the newest that the package index has."""
PEERS = tuple(KINDS)
"""Programs that can take part in a call."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class ServerEntry:
    """One server of the registry: a kind to start, or a domain."""

    name: str
    kind: str = ""
    domain: str = ""
    networks: tuple[str, ...] = ()
    """Pairs of networks to look between; none: all of the matrix."""

    @property
    def mutant(self) -> str:
        """Name of the mutant that it is; empty: it is none."""
        name, equals, mutant = self.kind.partition("=")
        return mutant if name == MUTANT and equals else ""

    @property
    def options(self) -> tuple[str, ...]:
        """Words for `dc-harness check`."""
        return ("--domain", self.domain) if self.domain else ("--server", self.kind)


@dataclass(frozen=True)
class Scenario:
    """A check, and the axes that make a difference to it."""

    name: str
    check: Check
    clients: bool = True
    """It starts real clients."""

    @property
    def peers(self) -> bool:
        return "calls" in self.check.needs

    @property
    def networks(self) -> bool:
        return self.check.between_networks


@dataclass(frozen=True)
class Interop:
    """All that a registry says."""

    file: Path
    servers: Mapping[str, ServerEntry]
    clients: tuple[str, ...]
    peers: tuple[str, ...]
    networks: tuple[str, ...]
    scenarios: Mapping[str, Scenario]
    reference_server: str
    reference_client: str
    seed: int = 1
    must: tuple[str, ...] = ()
    known: tuple[ExpectedRed, ...] = ()


def read_interop(file: Path, checks: Sequence[Check]) -> Interop:
    """Raises `ValueError` with a sentence that names the file and the key, or the line."""
    table = read_toml(file)
    servers = _servers(table)
    scenarios = _scenarios(table, {each.name: each for each in checks})
    networks = _checked(table, "networks", [], pair_of)
    reference = table.take_table("reference")
    reference_server = reference.take("server", str, "reference")
    if reference_server not in servers:
        raise reference.wrong("server", f"is {reference_server!r}; {_meant(reference_server, servers)}")
    reference_client = reference.take("client", str, NEWEST)
    version(reference_client)
    reference.end()
    found = Interop(
        file=file,
        servers=servers,
        clients=_checked(table, "clients", [NEWEST], version),
        peers=_names(table, "peers", PEERS, [PEERS[0]]),
        networks=networks,
        scenarios=scenarios,
        reference_server=reference_server,
        reference_client=reference_client,
        seed=table.take("seed", int, 1),
        must=_names(table, "must", scenarios, []),
        known=tuple(_known_red(each, servers, scenarios) for each in table.take_tables("known")),
    )
    table.end()
    for each in scenarios.values():
        if each.networks and not networks:
            raise table.wrong("networks", f"is missing, and {each.name} looks between networks")
    return found


def known(what: str, words: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The words, which must all be names. Raises `ValueError` with the nearest for one that is none."""
    given, names = tuple(dict.fromkeys(words)), list(names)
    for word in given:
        if word not in names:
            raise ValueError(f"{what}: there is no {word!r}; {_meant(word, names)}")
    return given


def _servers(root: TomlTable) -> dict[str, ServerEntry]:
    table, found = root.take_table("servers"), {}
    for name in table:
        if not NAME.fullmatch(name):
            raise table.wrong(name, "must be a word of small letters, digits, - and _")
        one = table.take_table(name)
        entry = ServerEntry(
            name,
            one.take("kind", str, ""),
            one.take("domain", str, ""),
            _checked(one, "networks", [], pair_of),
        )
        if bool(entry.kind) is bool(entry.domain):
            raise table.wrong(name, "must have a kind, as in --server, or a domain, as in --domain")
        try:
            if entry.domain:
                remote_target(entry.domain)
            else:
                server_of(entry.kind)
        except ValueError as error:
            raise one.wrong("domain" if entry.domain else "kind", f"is no server: {error}") from error
        one.end()
        found[name] = entry
    if not any(each.mutant for each in found.values()):
        raise root.wrong(
            "servers",
            f'has none that is wrong on purpose, such as kind = "{MUTANT}=turn_other_secret": '
            "nobody would know that a cell can be red",
        )
    return found


def _scenarios(root: TomlTable, checks: Mapping[str, Check]) -> dict[str, Scenario]:
    table, found = root.take_table("scenarios"), {}
    for name in table:
        if not NAME.fullmatch(name):
            raise table.wrong(name, "must be a word of small letters, digits, - and _")
        one = table.take_table(name)
        check = one.take("check", str)
        if check not in checks:
            raise one.wrong("check", f"is {check!r}, which there is not; {_meant(check, checks)}")
        found[name] = Scenario(name, checks[check], one.take("clients", bool, True))
        one.end()
    if not found:
        raise root.wrong("scenarios", "has none: there is nothing to try")
    return found


def _known_red(
    table: TomlTable, servers: Mapping[str, ServerEntry], scenarios: Mapping[str, Scenario]
) -> ExpectedRed:
    found = ExpectedRed(
        table.take("scenario", str),
        table.take("owner", str),
        table.take("expires", datetime.date).isoformat(),
        table.take("server", str, ""),
        table.take("client", str, ""),
        table.take("networks", str, ""),
        table.take("reason", str, ""),
    )
    for key, value, names in (("scenario", found.scenario, scenarios), ("server", found.server, servers)):
        if value not in ("", *names):
            raise table.wrong(key, f"is {value!r}; {_meant(value, names)}")
    if not found.owner.strip():
        raise table.wrong("owner", "is empty: somebody has to answer for it")
    table.end()
    return found


def _checked(
    table: TomlTable, key: str, default: list[str], check: Callable[[str], object]
) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(table.take_words(key, default)))
    for word in words:
        try:
            check(word)
        except ValueError as error:
            raise table.wrong(key, f"has {word!r}: {error}") from error
    return words


def _names(table: TomlTable, key: str, names: Iterable[str], default: list[str]) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(table.take_words(key, default)))
    for word in words:
        if word not in names:
            raise table.wrong(key, f"has {word!r}, which there is not; {_meant(word, names)}")
    return words


def version(text: str) -> None:
    """Raise `ValueError` for what is no version of core that we can drive."""
    if text != NEWEST:
        if not VERSION.fullmatch(text):
            raise ValueError(f"{text!r} is no version of core like 2.20.0, nor {NEWEST}")
        era_of(f"v{text}")


def _meant(word: str, names: Iterable[str]) -> str:
    names = list(names)
    near = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names) or 'none'}"
