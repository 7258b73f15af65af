"""The floors of harness: a room may import the rooms below it, and no other."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import harness

PACKAGE = Path(harness.__file__).parent
FLOORS = (
    "ground",  # target, accounts, urls, hosts, waiting, closing, text: files, not a folder
    "causes",
    "clients",
    "network",
    "calls",
    "realtime",
    "evidence",
    "report",
    "diagnosis",
    "servers",
    "look",
    "stage",
    "steps",
    "checks",
    "matrix",
    "load",
    "doors",
)
"""From the bottom to the top."""
APART = {
    "servers": {"calls", "realtime", "evidence", "report"},
    "report": {"calls", "realtime", "evidence", "network"},
}
"""Rooms that are not to know of some that stand below them."""


def room_of(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) > 1 or (PACKAGE / parts[0]).is_dir() else "ground"


def imports(file: Path) -> Iterator[tuple[str, ...]]:
    """Modules of harness that a file imports, as parts below the package; also inside functions and for types."""
    package = ("harness", *file.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            full = (*base, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                if full[:1] == ("harness",) and (rest := (*full[1:], alias.name)):
                    yield rest


@functools.cache
def arrows() -> tuple[tuple[str, str, str], ...]:
    return tuple(_arrows())


def _arrows() -> Iterator[tuple[str, str, str]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__":
            continue
        for target in imports(file):
            known = target if (PACKAGE / target[0]).is_dir() else target[:1]
            yield room_of(parts), room_of(known), f"{'/'.join(parts)} imports {'.'.join(target)}"


def test_every_room_has_a_floor():
    rooms = {each.name for each in PACKAGE.iterdir() if each.is_dir() and each.name != "__pycache__"}
    assert rooms == set(FLOORS) - {"ground"}


def test_arrows_inside_harness_run_downward_only():
    wrong = [
        sentence
        for source, target, sentence in arrows()
        if source != target and FLOORS.index(target) > FLOORS.index(source)
    ]
    assert wrong == []


def test_some_rooms_do_not_know_of_each_other():
    wrong = [sentence for source, target, sentence in arrows() if target in APART.get(source, ())]
    assert wrong == []


def test_no_check_imports_a_check():
    wrong = [sentence for source, target, sentence in arrows() if (source, target) == ("checks", "checks")]
    assert wrong == []


def test_the_walk_sees_an_arrow():
    assert ("stage", "servers") in {(source, target) for source, target, _ in arrows()}
