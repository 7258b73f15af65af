"""Versions of the harness and of the libraries that a result depends on."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["OWN", "installed_versions", "own_version"]

OWN = "dc-harness"
LIBRARIES = ("aiortc", "aioice", "iroh")
"""Peers of calls and nodes of iroh: with other versions, others are heard and reached."""


@functools.cache
def own_version() -> str:
    """That of the installed distribution; `unknown` in a directory that nobody installed."""
    return installed_versions().get(OWN, "unknown")


def installed_versions() -> dict[str, str]:
    """Program or library -> version, without those that are not there."""
    found = {}
    for name in (OWN, *LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {"Python": platform.python_version()}
