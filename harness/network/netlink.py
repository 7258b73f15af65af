"""rtnetlink of the kernel (rtnetlink(7)), by pyroute2.

pyroute2 takes a third of a second to load, so that happens when the first lab is made and not before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = ["NetlinkFailed", "open_netlink"]


class NetlinkFailed(OSError):
    """The kernel refused a request; `errno` says why."""


@contextmanager
def open_netlink() -> Iterator[IPRoute]:
    """A socket of rtnetlink in the network namespace of this thread. What the kernel refuses ends the block with
    `NetlinkFailed`."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - see above
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    try:
        with IPRoute() as netlink:
            yield netlink
    except NetlinkError as error:
        raise NetlinkFailed(error.code, os.strerror(error.code)) from error
