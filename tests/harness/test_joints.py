"""What `harness` does in one place only, so that later hosts and deadlines hold everywhere."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

PACKAGE = Path(harness.__file__).parent
GROUND = {"network/namespace.py", "network/preflight.py", "network/emulator.py"}
"""What hosts in a lab are made of: it stands where no host is yet."""
FORKS = {"fork_server.py", "fork_client.py"}
"""Two programs that hand over what one of them has: they know of no host."""
HOSTS = {"hosts.py", *GROUND, *FORKS}
ONLY_IN = {
    "subprocess.Popen": HOSTS,
    "subprocess.run": HOSTS,
    "subprocess.check_output": HOSTS,
    "socket.socket": HOSTS,
    "socket.create_connection": HOSTS,
    "socket.create_server": HOSTS,
    "time.sleep": {"waiting.py"},
}


CAGED = {"clients/relay/iroh_node.py", "clients/relay/iroh_node_process.py"}
"""A native asyncio library in a namespace of its own, and the bridge out of it: the joints are for everything else."""


def others() -> Iterator[Path]:
    return (path for path in PACKAGE.rglob("*.py") if str(path.relative_to(PACKAGE)) not in CAGED)


@functools.cache
def calls(source: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse(source))
    return frozenset(ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call))


@pytest.mark.parametrize("name", ONLY_IN)
def test_it_is_called_in_one_file_only(name):
    users = {str(path.relative_to(PACKAGE)) for path in others() if name in calls(path.read_text())}
    assert users <= ONLY_IN[name]


AGENTS_PROGRAM = {"calls/agent_program.py", "calls/tracks.py"}
"""aiortc is asynchronous: the program of a call agent is a process of its own, driven over its stdin."""
NAME_SERVER = {"network/nameserver.py"}
"""A server with many clients, in a thread of its own; who uses it sees a synchronous object."""


def test_the_harness_is_synchronous():
    users = {str(path.relative_to(PACKAGE)) for path in others() if "asyncio" in path.read_text()}
    assert users == AGENTS_PROGRAM | NAME_SERVER


def test_nobody_imports_the_program_of_an_agent():
    programs = {*AGENTS_PROGRAM, "calls/window_program.py"}
    modules = {Path(each).stem for each in programs}
    for path in PACKAGE.rglob("*.py"):
        if str(path.relative_to(PACKAGE)) not in programs:
            imports = [
                each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.ImportFrom)
            ]
            assert not modules & {str(each.module).rpartition(".")[2] for each in imports}, path
            assert not modules & {alias.name for each in imports for alias in each.names}, path
