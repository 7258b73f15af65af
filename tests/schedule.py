"""Pieces in which workers get the tests, the longest first, and few calls at a time.

Instead of `--dist loadgroup`: pytest-xdist 3.8 writes groups where pytest 9.2 does not read them.
"""

from __future__ import annotations

import functools
import itertools

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

__all__ = ["Schedule", "rank"]

TOGETHER = {
    "tests/test_add_a.py": "installed wheel",
    "tests/test_doctor_installed.py": "installed wheel",
    "tests/test_guest.py": "installed wheel",
    "tests/test_without_servers.py": "installed wheel",
}
"""Files that share what takes long to make."""
ONE_BY_ONE = ("scenarios/", "tests/mutants/test_kills.py")
"""Files whose tests share nothing."""
CALLS = "call"
"""Tests with this in their name have calls, which keep time: too many at once would starve each other."""


def piece_of(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return nodeid if nodeid.startswith(ONE_BY_ONE) else TOGETHER.get(file, file)


def rank(nodeid: str) -> int:
    """Place in the order: what is long in one piece comes first, what is small fills the gaps at the end."""
    piece = piece_of(nodeid)
    if piece in TOGETHER.values():
        return 0
    if CALLS in piece:
        return 1
    return 3 + nodeid.startswith("tests/") if piece == nodeid else 2


class Schedule(LoadScopeScheduling):  # type: ignore[misc]
    """Tests of a file stay together, because of the servers that they share."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        config.option.loadscopereorder = False  # the order is that of `rank`, and not of the number of tests
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        piece = piece_of(nodeid)
        return self._lane_of(piece) if CALLS in piece else piece

    @functools.cached_property
    def _lanes(self) -> itertools.cycle[int]:
        return itertools.cycle(range(max(1, 3 * self.numnodes // 4)))

    @functools.cache  # noqa: B019 - there is one, and it lives as long as the process
    def _lane_of(self, piece: str) -> str:
        return f"calls {next(self._lanes)}"
