"""`dc-harness signoff`: everything that a server must show before it is released, and the verdict."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .check import add_run_options
from .exit_codes import EXPLANATION

if TYPE_CHECKING:
    from ..report.must import MustList
    from ..stage.check import Check

__all__ = ["add_command", "needed"]


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser(
        "signoff",
        help=sentence,
        description="Runs what the must-list needs: that of --must FILE.toml, or every promise that the server can "
        "have. The must-list decides, and nothing else; a must that was not run is no sign-off.",
        epilog=EXPLANATION,
    )
    add_run_options(parser)
    parser.set_defaults(run=functools.partial(signoff, parser))


def signoff(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """0 for RELEASE OK, 1 for RELEASE NOT OK, 3 for NO VERDICT; otherwise as `exit_codes` has it."""
    from .catalogue import all_checks  # noqa: PLC0415 - it loads everything
    from .must_file import default_list  # noqa: PLC0415
    from .running import Order, run_checks  # noqa: PLC0415

    try:
        order = Order.read(arguments)
    except ValueError as error:
        parser.error(str(error))
    must = order.must or default_list(all_checks())
    return run_checks(needed(must, all_checks()), replace(order, must=must))


def needed(must: MustList, checks: Sequence[Check]) -> list[Check]:
    """The checks that show its musts, and those whose failure would explain theirs."""
    by_name = {each.name: each for each in checks}
    names: set[str] = set()
    waiting = [name for each in must.musts for name in each.checks]
    while waiting:
        if (name := waiting.pop()) not in names:
            names.add(name)
            waiting += by_name[name].after
    return [each for each in checks if each.name in names]
