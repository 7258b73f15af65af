"""`dc-harness list`: the checks and their promises, as they stand in the text of the checks.

Their modules are read and not imported: with them come clients, labs and media, which take longer than a person who
looks for a name wants to wait.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import checks
from ..checks import ROOMS
from ..target import Impact
from .choice import NothingChosen, add_names, choose
from .console import complain, say
from .exit_codes import EXPLANATION, NOTHING_RAN, PASSED

__all__ = ["ListedCheck", "add_command", "listed_checks", "render"]

WIDTH = 80
"""Columns of a list in a pipe, and at least on a terminal."""


@dataclass(frozen=True)
class ListedCheck:
    """What a list says of a check: fields of `stage.check.Check`."""

    name: str
    requirements: tuple[str, ...]
    impact: Impact
    sentence: str

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser("list", help=sentence, epilog=EXPLANATION)
    add_names(parser)
    parser.add_argument("--json", action="store_true", help="as a JSON list, for programs")
    parser.set_defaults(run=show)


def show(arguments: argparse.Namespace) -> int:
    """0, or 5 where no check has such a name and room."""
    try:
        chosen = choose(listed_checks(), arguments.names, arguments.only)
    except NothingChosen as error:
        complain(str(error))
        return NOTHING_RAN
    if arguments.json:
        say(json.dumps([asdict(each) for each in chosen], ensure_ascii=False, indent=1))
        return PASSED
    say(render(chosen, max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)))
    return PASSED


def listed_checks() -> list[ListedCheck]:
    """Every check, in the order of a report."""
    directory = Path(checks.__path__[0])
    return [check for room in ROOMS for check in _checks_in(directory / f"{room}.py")]


def _checks_in(file: Path) -> Iterator[ListedCheck]:
    for function in ast.parse(file.read_bytes()).body:
        if isinstance(function, ast.FunctionDef):
            for decorator in function.decorator_list:
                match decorator:
                    case ast.Call(func=ast.Name(id="check"), args=requirements, keywords=keywords):
                        yield ListedCheck(
                            f"{file.stem}.{function.name}",
                            tuple(_words(requirements)),
                            _impact(keywords),
                            (ast.get_docstring(function) or "").partition("\n")[0],
                        )


def _words(nodes: Sequence[ast.expr]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Constant(value=str(word)):
                yield word
            case ast.Starred(value=ast.Tuple(elts=several)):
                yield from _words(several)


def _impact(keywords: Sequence[ast.keyword]) -> Impact:
    for keyword in keywords:
        match keyword:
            case ast.keyword(arg="impact", value=ast.Attribute(value=ast.Name(id="Impact"), attr=name)):
                return Impact[name]
    return Impact.LIVE_SAFE


def render(checks: Sequence[ListedCheck], width: int) -> str:
    """Below the name of each room its checks: name, promises and impact, then the sentence; no line is wider."""
    lines = []
    for room, found in itertools.groupby(checks, key=lambda check: check.room):
        lines.append(room)
        for check in found:
            name = check.name.partition(".")[2]
            proves = ", ".join(check.requirements)
            head = f"  {name}  {proves}" if proves else f"  {name}"
            lines += textwrap.wrap(head, width, subsequent_indent="      ", break_long_words=False)
            text = f"{check.sentence} ({check.impact})"
            lines += textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)
