"""`must.toml`: for each server what it must show before it is released, and which failures somebody answers for.

["chat.example.org"]              # as in --domain, or the name of a --server; `default` is any other
capabilities = ["turn", "relay"]
promises = ["DISC-*", "TURN-10"]
checks = ["tls.certificates_are_trusted"]

[["chat.example.org".known]]
check = "turn.turns_is_offered"
owner = "alice@example.org"
expires = 2026-12-31
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..report.must import KnownRed, Must, MustList
from ..report.promises import PROMISES
from ..servers.toml_table import TomlTable, read_toml
from ..stage.check import Check

__all__ = ["capabilities_of", "default_list", "read_must_list"]

ANY_OTHER = "default"
CAPABILITIES = {
    "turn": "turn.turn_is_offered",
    "turns": "turn.turns_is_offered",
    "relay": "discovery.metadata_offers_a_relay",
}
"""Services that a server may be meant to have, as `--must` names them, and the check that shows that it does."""


def default_list(checks: Sequence[Check]) -> MustList:
    """Every promise that the server can have, and the checks that prove none of them."""
    promises = [Must(each, _that_prove(each, checks), where_possible=True) for each in PROMISES]
    others = [Must(each.name, (each.name,), where_possible=True) for each in checks if not each.requirements]
    return MustList("everything that the server can have", (*promises, *others))


def capabilities_of(must: MustList) -> list[str]:
    """Services that the server is meant to have, as `--must` names them."""
    return [each for each in CAPABILITIES if any(_capability(each) == found.name for found in must.musts)]


def read_must_list(file: Path, target: str, checks: Sequence[Check]) -> MustList:
    """The must-list of one server, after the whole file was read. Raises `ValueError` with a sentence."""
    root = read_toml(file)
    servers = list(root)
    lists = {name: _of_one_server(file, root.take_table(name), checks) for name in servers}
    found = lists.get(target) or lists.get(ANY_OTHER)
    if found is None:
        raise ValueError(
            f"{file} has no table for {target}, and no [{ANY_OTHER}]; {_did_you_mean(target, servers)}"
        )
    return found


def _of_one_server(file: Path, table: TomlTable, checks: Sequence[Check]) -> MustList:
    by_name = {each.name: each for each in checks}
    capabilities = _known(table, "capabilities", CAPABILITIES)
    promises = _known(table, "promises", PROMISES)
    chosen = _known(table, "checks", by_name)
    musts = (
        *(Must(_capability(each), (CAPABILITIES[each],)) for each in capabilities),
        *(Must(each, _that_prove(each, checks)) for each in promises),
        *(Must(each, (each,)) for each in chosen),
    )
    known_reds = tuple(_known_red(each, by_name) for each in table.take_tables("known"))
    for key in table:
        if table.kind_of(key) is dict:
            raise table.wrong(
                key, 'is no known key: a name with dots is in quotes, as in ["chat.example.org"]'
            )
    table.end()
    if not musts:
        raise table.wrong("", "asks for nothing: it needs capabilities, promises or checks")
    return MustList(file.name, musts, known_reds)


def _known_red(table: TomlTable, checks: Iterable[str]) -> KnownRed:
    name = table.take("check", str)
    if name not in checks:
        raise table.wrong("check", f"is {name}, which there is not; {_did_you_mean(name, checks)}")
    owner, expires = table.take("owner", str), table.take("expires", datetime.date)
    if not owner.strip():
        raise table.wrong("owner", "is empty: somebody has to answer for it")
    found = KnownRed(name, owner, expires.isoformat(), table.take("reason", str, ""))
    table.end()
    return found


def _capability(name: str) -> str:
    return f"capability {name}"


def _that_prove(promise: str, checks: Iterable[Check]) -> tuple[str, ...]:
    return tuple(each.name for each in checks if promise in each.requirements)


def _known(table: TomlTable, key: str, known: Iterable[str]) -> list[str]:
    """Names, or patterns such as `TURN-*`, as the names that they mean; each must mean one."""
    found: dict[str, None] = {}
    for word in table.take_words(key, []):
        meant = [each for each in known if fnmatchcase(each, word)]
        if not meant:
            raise table.wrong(key, f"names {word}, which there is not; {_did_you_mean(word, known)}")
        found |= dict.fromkeys(meant)
    return list(found)


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names[:40])}"
