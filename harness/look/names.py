"""Names: every address of each, and the ways in which there is none."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Collection
from concurrent.futures import TimeoutError as NotInTime

from ..hosts import Host
from ..report.looks import NameLook
from .together import started

__all__ = ["CORE_WAITS", "MOST_ADDRESSES", "look_at_name"]

CORE_WAITS = 5.0
"""Seconds after which core gives up on a name (measured: docs/network-lab.md)."""
AT_ONCE = 2.0
"""Seconds: a name server that answers `try again` does so at once, a resolver that got no answer says it after 5 s."""
MOST_ADDRESSES = 8
"""Addresses of one name that are looked at."""


def look_at_name(host: Host, name: str, own: Collection[str] | None = None) -> NameLook:
    """Look a name up as a device does. `own`: addresses that it may have; None: any."""
    began = time.monotonic()
    future = started(lambda: host.resolve(name))
    try:
        found = tuple(dict.fromkeys(map(_plain_address, future.result(timeout=CORE_WAITS))))
    except NotInTime:
        return NameLook(name, failure="silent", seconds=_since(began))
    except UnicodeError:  # labels that are too long, or empty
        return NameLook(name, failure="unknown", seconds=_since(began))
    except OSError as error:
        seconds = _since(began)
        if getattr(error, "errno", None) != socket.EAI_AGAIN:
            return NameLook(name, failure="unknown", seconds=seconds)
        return NameLook(name, failure="failed" if seconds < AT_ONCE else "silent", seconds=seconds)
    foreign = () if own is None else tuple(each for each in found if each not in own)
    return NameLook(
        name,
        found[:MOST_ADDRESSES],
        len(found),
        seconds=_since(began),
        foreign=foreign[:MOST_ADDRESSES],
    )


def _plain_address(text: str) -> str:
    """Without a scope, and in the one way to write it."""
    return str(ipaddress.ip_address(text.partition("%")[0]))


def _since(began: float) -> float:
    return round(time.monotonic() - began, 2)
