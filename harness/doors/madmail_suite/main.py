"""The drop-in for madmail's `tests/deltachat-test/main.py`: what its command line asks for."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence

import dotenv

from ...preloaded import load_ahead
from ...servers import reference
from ..exit_codes import PASSED
from .arguments import parse
from .console import Console
from .stress import stress

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked for. The exit codes are those of `exit_codes`."""
    # To look through all that is loaded takes a quarter of a second and frees nothing.
    atexit.register(gc.freeze)
    dotenv.load_dotenv(dotenv.find_dotenv(usecwd=True))
    words = sys.argv[1:] if argv is None else argv
    options = parse(words)
    console = Console(sys.stdout, cool=options.cool, color=options.color)
    if options.list_only:
        console.listing()
        return PASSED
    if options.stress is not None:
        code = stress(options.stress, console)
        options.copy_results(options.stress.order.directory)
        console.close()
        return code
    if options.jobs == 1 and options.choice.name == reference.Reference.name:
        load_ahead(reference.MODULES)
    from .running import run_tests  # noqa: PLC0415 - it loads every check: the server does its own loading meanwhile

    return run_tests(options, console, words)
