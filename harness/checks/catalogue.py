"""All checks, by name: for doors that choose them at run time."""

from __future__ import annotations

import inspect

from ..session import Session
from . import (
    calls,
    discovery,
    durability,
    mail,
    realtime,
    realtime_paths,
    relay,
    relay_v1,
    services,
    swarms,
    tls,
    turn,
)
from .outcome import CHECKS, Check, Outcome

__all__ = ["MODULES", "all_checks", "run_check"]

MODULES = (
    tls,
    discovery,
    relay,
    relay_v1,
    realtime,
    realtime_paths,
    swarms,
    mail,
    durability,
    services,
    turn,
    calls,
)
"""Importing them is what registers their checks; the order is that of a report."""


def all_checks() -> list[Check]:
    """Every check, in the order of `MODULES`."""
    order = [module.__name__.rpartition(".")[2] for module in MODULES]
    return sorted(CHECKS.values(), key=lambda check: order.index(check.name.partition(".")[0]))


def run_check(check: Check, session: Session) -> Outcome:
    """Run one check with what its parameters ask for by name: `host`, `devices`, `labs`. Others have defaults."""
    offers = {"host": session.host, "devices": session.devices, "labs": session.labs}
    _target, *wanted = inspect.signature(check.run).parameters
    return check.run(session.target, **{name: offers[name] for name in wanted if name in offers})
