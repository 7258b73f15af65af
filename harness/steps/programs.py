"""Traces of a program's own name, where its file has another."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..hosts import Host, output_of
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..text import clean

__all__ = ["default_paths", "expect_another_name"]

OWN_NAME = re.compile(r"madmail|maddy", re.IGNORECASE)
PATHS = re.compile(r"/(?:etc|run|var/lib)/[\w./-]+")
COMM = 15
"""Characters of a process's name that the kernel keeps (proc(5))."""
ENDS_WITHIN = 30.0


def expect_another_name(stage: Stage, outcome: Outcome, program: Path) -> None:
    """The process list, the default paths and the greetings have the name of the file, or none."""
    names = list(_process_names(program))
    outcome.expect(
        bool(names) and all(name == program.name[:COMM] for name in names),
        f"a program that was started as {program.name} is {', '.join(names) or 'nowhere'} in the list of processes",
    )
    paths = default_paths(stage.host, program)
    if not paths:
        outcome.note("neither `version` nor `--help` tells a path that the program uses by default")
    for path in paths:
        is_renamed = program.name in path and not OWN_NAME.search(path)
        outcome.expect(is_renamed, f"started as {program.name}, it uses {path} by default")
    for port, greeting in _greetings(stage):
        found = OWN_NAME.search(greeting)
        outcome.expect(found is None, f"the greeting at port {port} has its own name: {clean(greeting, 100)}")


def default_paths(host: Host, program: Path) -> list[str]:
    """Paths that `version` and `--help` tell."""
    told = ""
    for word in ("version", "--help"):
        with contextlib.suppress(TimeoutError):  # one that takes it for the start of a server
            told += output_of(host, [program, word], within=ENDS_WITHIN)[1]
    return sorted({found.rstrip(".") for found in PATHS.findall(told)})


def _process_names(program: Path) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if (entry / "exe").readlink() == program:
                    yield (entry / "comm").read_text().strip()


def _greetings(stage: Stage) -> Iterator[tuple[int, str]]:
    """First words at the ports where a server speaks first, without TLS."""
    for port in (stage.target.submission, stage.target.imap):
        with stage.host.connect(stage.target.host, port, within=ENDS_WITHIN) as connection:
            yield port, connection.recv(4096).decode(errors="replace")
