"""Floors inside the reference server: who may import whom, from the ground up, and no circle of imports.

Imports for type checkers and inside functions count like any other.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVER = "reference_server"

FLOORS = {
    # A room stands here as one name, and has its own floors below.
    SERVER: [
        "errors  ledger  control  certificates  children  log_limit  scratch",
        "addresses  certificate_pair  descriptors  memory  options  tls  turn_secret",
        "service_settings",
        "service",
        "iroh_relay  mail  turn",
        "config  programs  settings",
        "plan",
        "supervisor",
        "__main__",
    ],
    f"{SERVER}.turn": [
        "stun  rate_limit",
        "ledger  credentials  peers  settings",
        "allocations  relay_ports  requests",
        "actions",
        "authentication",
        "core",
        "sockets",
        "service",
        "__main__",
    ],
    f"{SERVER}.turn.sockets": [
        "epoll  segments",
        "mmsg",
        "udp  fast_path",
        "streams  connected",
        "shell",
    ],
    f"{SERVER}.iroh_relay": [
        "keys  stun  counters  access",
        "framing  signatures",
        "limits  http",
        "client  config  settings",
        "actions",
        "hub",
        "shell  v035  v1",
        "connection",
        "service",
        "__main__",
    ],
    f"{SERVER}.iroh_relay.http": ["http1", "routes  metrics  websocket"],
    f"{SERVER}.iroh_relay.v035": ["frames", "handshake", "hub"],
    f"{SERVER}.iroh_relay.v1": ["frames", "handshake", "hub"],
    f"{SERVER}.mail": [
        "fields  mailbox  mime  openpgp  rates  relay_passage  schema  settings  smtp_auth  smtp_data  memory",
        "keywords  dialects  listener  offers  outgoing  smtp_receiving",
        "store  policy  alpn  listeners",
        "store_thread",
        "accounts  delivery",
        "federation",
        "admin",
        "smtp  web  imap",
        "strategies  dovecot",
        "service",
        "__main__",
    ],
    f"{SERVER}.mail.federation": [
        "replies  routes  bounces",
        "conversation  policy  resolver  signatures",
        "client  inbound  posting",
        "mxdeliv",
        "overrides",
        "courier",
        "federation",
    ],
    f"{SERVER}.mail.imap": [
        "parser  states  entities  addresses",
        "events  arguments  view  compression  headers  capabilities",
        "context  search  structure",
        "fetch  logins  mailboxes  metadata",
        "messages  backend",
        "commands",
        "session",
        "connection",
    ],
    f"{SERVER}.config": [
        "findings  not_served",
        "maddy_syntax",
        "directives  imports",
        "maddy  relay",
        "check",
        "files",
        "check_config",
    ],
}


def modules_of(package: Path) -> dict[str, Path]:
    """From module names to files, without the `__init__.py`, which are empty."""
    files = [file for file in sorted(package.rglob("*.py")) if file.name != "__init__.py"]
    return {".".join(file.relative_to(package.parent).with_suffix("").parts): file for file in files}


def imports_of(module: str, file: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """The modules among those given that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            named = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in named if name in modules)


@functools.cache
def graph(package: Path) -> dict[str, set[str]]:
    modules = modules_of(package)
    return {module: set(imports_of(module, file, modules)) for module, file in modules.items()}


def circle(arrows: Mapping[str, set[str]]) -> Sequence[str]:
    """Modules that import each other in a circle; empty when there are none."""
    done: set[str] = set()

    def search(module: str, path: tuple[str, ...]) -> Sequence[str]:
        if module in path:
            return (*path[path.index(module) :], module)
        if module not in done:
            for imported in sorted(arrows[module]):
                if found := search(imported, (*path, module)):
                    return found
            done.add(module)
        return ()

    return next((found for module in arrows if (found := search(module, ()))), ())


def name_in(room: str, module: str) -> str | None:
    """The name under which a room knows a module; None for one that is elsewhere."""
    return module.removeprefix(f"{room}.").partition(".")[0] if module.startswith(f"{room}.") else None


def test_no_imports_go_round_in_a_circle():
    assert circle(graph(ROOT / SERVER)) == ()


@pytest.mark.parametrize("room", FLOORS)
def test_imports_of_a_room_go_downward(room):
    floor = {name: number for number, line in enumerate(FLOORS[room]) for name in line.split()}
    upward = {
        f"{module} imports {imported}"
        for module, all_imported in graph(ROOT / SERVER).items()
        for imported in all_imported
        if (here := name_in(room, module)) and (there := name_in(room, imported)) and here != there
        if floor[there] >= floor[here]
    }
    assert not upward


@pytest.mark.parametrize("room", FLOORS)
def test_every_module_has_its_floor(room):
    named = [name for line in FLOORS[room] for name in line.split()]
    there = {name for module in modules_of(ROOT / SERVER) if (name := name_in(room, module))}
    assert sorted(named) == sorted(there)


def test_every_room_has_floors():
    assert {module.rpartition(".")[0] for module in modules_of(ROOT / SERVER)} == FLOORS.keys()


def test_the_walk_finds_a_circle_through_types_and_functions(tmp_path):
    package = tmp_path / "house"
    package.mkdir()
    (package / "one.py").write_text("if TYPE_CHECKING:\n    from .two import Two\n")
    (package / "two.py").write_text("def f():\n    from house import three\n")
    (package / "three.py").write_text("import house.one\n")
    (package / "four.py").write_text("from . import one\n")
    assert circle(graph(package)) == ("house.one", "house.two", "house.three", "house.one")
