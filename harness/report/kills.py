"""Kill table of `dc-harness mutants`: for each check the servers, wrong on purpose, on which it was seen to fail.

A check that never failed proves nothing. Pure functions, but for `read_kills`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import plain
from .records import Verdict
from .tables import Section, Table

__all__ = ["KILLS", "Kill", "kill_table", "read_kills"]

KILLS = "mutants.json"
"""Name of the file in the directory of a run of `dc-harness mutants`."""
DECLARED, FURTHER = "killed as declared", "failed on as well"


@dataclass(frozen=True)
class Kill:
    """One check on one server that is wrong on purpose."""

    check: str
    mutant: str
    verdict: Verdict
    is_declared: bool
    """The mutant names this check beforehand, with words that its reason must have."""


def read_kills(place: Path) -> list[Kill]:
    """Out of that file, or of the directory that it is in. Raises ValueError with a sentence."""
    file = place / KILLS if place.is_dir() else place
    try:
        cells = json.loads(file.read_bytes())
        return [
            Kill(
                str(cell["check"]),
                str(cell["mutant"]),
                Verdict(cell["verdict"]),
                cell["declared"] is not None,
            )
            for cell in cells
        ]
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {plain(error)}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file} is no kill table of dc-harness") from error


def kill_table(kills: Sequence[Kill], checks: Sequence[str]) -> Section:
    """Of these checks, in their order."""
    rows = []
    for name in dict.fromkeys(checks):
        failed = [each for each in kills if each.check == name and each.verdict is Verdict.FAILED]
        declared = [each.mutant for each in failed if each.is_declared]
        further = [each.mutant for each in failed if not each.is_declared]
        rows.append([name, ", ".join(declared) or "none", ", ".join(further)])
    legend = "servers that are wrong on purpose, each in one way: `python -m mutants`"
    return Section("Kill table", [("", Table(["check", DECLARED, FURTHER], rows))], [legend])
