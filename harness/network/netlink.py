"""rtnetlink of the kernel (rtnetlink(7)), by pyroute2.

pyroute2 takes a third of a second to load, so that happens when the first lab is made, with no more of it than that.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["NetlinkFailed", "open_netlink"]

_loading = threading.Lock()
"""Networks are made by threads of their own."""


class NetlinkFailed(OSError):
    """The kernel refused a request; `errno` says why."""


@contextmanager
def open_netlink() -> Iterator[IPRoute]:
    """A socket of rtnetlink in the network namespace of this thread. What the kernel refuses ends the block with
    `NetlinkFailed`."""
    with _loading:
        socket, refused = _pyroute2()
    try:
        with socket() as netlink:
            yield netlink
    except refused as error:
        raise NetlinkFailed(error.code, os.strerror(error.code)) from error


@functools.cache
def _pyroute2() -> tuple[type[IPRoute], type[NetlinkError]]:
    """Two classes of it, without all that its `__init__` loads: protocols that no lab speaks, and most of the time."""
    _put_off_init("pyroute2")
    from pyroute2.iproute.linux import IPRoute  # noqa: PLC0415 - see above
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    return IPRoute, NetlinkError


def _put_off_init(name: str) -> None:
    """Let the `__init__` of a package run when somebody wants what it defines; its modules need none of that."""
    spec = importlib.util.find_spec(name)
    if name in sys.modules or spec is None or spec.loader is None:
        return
    package, loader = importlib.util.module_from_spec(spec), spec.loader

    def run_init(attribute: str) -> object:
        if importlib.util.find_spec(f"{name}.{attribute}"):
            raise AttributeError(attribute)  # a module of it, which is imported for that
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, attribute)

    package.__dict__["__getattr__"] = run_init  # PEP 562
    sys.modules[name] = package
