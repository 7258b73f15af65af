"""Every address of a name, each tried by itself: clients go to any of them, and a connection hides which one it was."""

from __future__ import annotations

import socket

from ..errors import plain
from ..hosts import Host
from ..stage.outcome import Outcome

__all__ = ["expect_every_address_accepts", "tried_addresses"]

WITHIN = 5.0
"""Seconds for each address."""
DISCARD = 9
"""Port of a socket that sends nothing (RFC 863)."""


def tried_addresses(outcome: Outcome, host: Host, name: str) -> tuple[str, ...]:
    """The addresses of a name that this machine has a way to; the outcome notes the others. Raises `OSError`."""
    found = tuple(dict.fromkeys(host.resolve(name)))
    tried = tuple(each for each in found if _has_a_way(host, each))
    if left_out := sorted(set(found) - set(tried)):
        outcome.note(f"not tried, since this machine has no way to it: {', '.join(left_out)} of {name}")
    return tried


def expect_every_address_accepts(outcome: Outcome, host: Host, name: str, port: int, *, cause: str) -> None:
    """Each of several addresses of a name accepts TCP connections at a port; of one alone, other expectations tell.

    Raises `OSError` for a name that leads nowhere.
    """
    tried = tried_addresses(outcome, host, name)
    for address in tried if len(tried) > 1 else ():
        try:
            host.connect(address, port, within=WITHIN).close()
        except OSError as error:
            outcome.expect(
                False,
                f"{name} has an address at which nobody answers: {address} port {port}: {plain(error)}",
                cause=cause,
            )


def _has_a_way(host: Host, address: str) -> bool:
    """There is a route to it, and an address of the same family to come from. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with host.socket(family, socket.SOCK_DGRAM) as trial:
            trial.connect((address, DISCARD))
    except OSError:
        return False
    return True
