"""All checks, by name: for doors that choose them at run time."""

from __future__ import annotations

import inspect

from ..stage.session import Session
from ..steps.outcome import CHECKS, Check, Outcome
from . import (
    calls,
    calls_changes,
    calls_interrupted,
    calls_lifetimes,
    calls_many,
    calls_paths,
    discovery,
    durability,
    ipv6,
    mail,
    names,
    realtime,
    realtime_paths,
    relay,
    relay_v1,
    services,
    swarms,
    tls,
    turn,
)

__all__ = ["MODULES", "all_checks", "is_in_room", "run_check"]

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
    names,
    calls,
    calls_lifetimes,
    calls_many,
    calls_interrupted,
    calls_paths,
    calls_changes,
    ipv6,
)
"""Importing them is what registers their checks; the order is that of a report."""


def all_checks() -> list[Check]:
    """Every check, in the order of `MODULES`."""
    order = [module.__name__.rpartition(".")[2] for module in MODULES]
    return sorted(CHECKS.values(), key=lambda check: order.index(check.name.partition(".")[0]))


def is_in_room(check: Check, room: str) -> bool:
    """A room is a module with the more special ones: `calls` is also `calls_many`."""
    module = check.name.partition(".")[0]
    return module == room or module.startswith(f"{room}_")


def run_check(check: Check, session: Session) -> Outcome:
    """Run one check with what its parameters ask for by name: `host`, `devices`, `labs`; others keep their defaults.

    An embedded server is started anew for a check that wants it to be started with arguments.
    """
    _target, *parameters = inspect.signature(check.run).parameters.values()
    with session.served(check.server) as served:
        own = served.apart(check.name)
        offers = {"host": own.host, "devices": own.devices, "labs": own.labs}
        wanted = {each.name: offers[each.name] for each in parameters if each.default is each.empty}
        return check.run(own.target, **wanted)
