"""All checks, by room: for doors that run them. `listing` names them without loading them."""

from __future__ import annotations

import importlib

from ..checks import ROOMS
from ..stage.check import CHECKS, Check

__all__ = ["all_checks"]

for room in ROOMS:
    importlib.import_module(f"..checks.{room}", __package__)  # registers its checks


def all_checks() -> list[Check]:
    """Every check, in the order of a report."""
    return sorted(CHECKS.values(), key=lambda check: ROOMS.index(check.room))
