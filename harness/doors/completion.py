"""`dc-harness completion SHELL`: the completion of a shell, as text, out of the options as they are declared."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .console import say
from .exit_codes import PASSED

__all__ = ["add_command"]

SHELLS = ("bash", "zsh", "tcsh")
HOW = """For bash: dc-harness completion bash > ~/.local/share/bash-completion/completions/dc-harness
For zsh: dc-harness completion zsh > a directory of $fpath, as _dc-harness"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser(
        "completion",
        help=sentence,
        epilog=HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=completion)


def completion(arguments: argparse.Namespace) -> int:
    import shtab  # noqa: PLC0415 - nobody else needs it

    from .cli import parser_of  # noqa: PLC0415 - it imports this module

    parser, preamble = parser_of(None), ""
    for name, words in _words().items():
        preamble += _bash_function(name, words) if arguments.shell == "bash" else ""
        for action in _actions(parser):
            if action.dest == name:
                action.complete = _ways(name, words)  # type: ignore[attr-defined]
    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    say(shtab.complete(parser, arguments.shell, preamble=preamble))
    return PASSED


def _words() -> Mapping[str, tuple[str, ...]]:
    """Name of an argument -> words that it may be."""
    from ..servers.registry import SERVERS  # noqa: PLC0415
    from .listing import listed_checks  # noqa: PLC0415

    checks = listed_checks()
    rooms = dict.fromkeys(each.room for each in checks)
    return {"names": tuple(each.name for each in checks), "only": tuple(rooms), "server": tuple(SERVERS)}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of the parser and of all below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in dict.fromkeys(action.choices.values()):
                yield from _actions(below)


def _bash_function(name: str, words: Iterable[str]) -> str:
    return f'_dc_harness_{name}() {{ compgen -W "{" ".join(words)}" -- "$1"; }}\n'


def _ways(name: str, words: Iterable[str]) -> Mapping[str, str]:
    """As each shell completes an argument."""
    together = " ".join(words)
    return {"bash": f"_dc_harness_{name}", "zsh": f"({together})", "tcsh": f"`echo {together}`"}
