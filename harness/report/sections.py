"""All tables of a run in the order in which a reader wants them. A pure function of records."""

from __future__ import annotations

from collections.abc import Sequence

from .call_tables import calls
from .load_tables import client_load
from .matrix import matrix
from .numbers import numbers, paths
from .records import Record
from .swarms import swarms
from .tables import Section

__all__ = ["about_traffic", "every_section"]


def about_traffic(records: Sequence[Record]) -> list[Section]:
    """Between which networks what passed, calls, swarms, loads; sections that have nothing are left out."""
    found = [*matrix(records), calls(records), swarms(records), client_load(records)]
    return [each for each in found if each is not None]


def every_section(records: Sequence[Record]) -> list[Section]:
    """Those, paths, and everything that was measured."""
    ways = paths(records)
    return [*about_traffic(records), *([ways] if ways is not None else []), *numbers(records)]
