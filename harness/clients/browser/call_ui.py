"""Delta Chat's own call UI, the npm package `@deltachat/calls-webapp`: where it is, and which version.

`./setup --browser` fetches what the lock file beside this module pins, with its hash. It is one page, and no part of
this project.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ...hosts import MissingCapability
from .chromium import SETUP

__all__ = ["CallUi", "find_call_ui"]

PACKAGE = "@deltachat/calls-webapp"
OWN = "DC_HARNESS_CALL_UI"
"""Variable of the environment with the file of another build of it, for those who develop it."""


@dataclass(frozen=True)
class CallUi:
    """A page, and the version of the package that it is from."""

    page: Path
    version: str


def find_call_ui() -> CallUi:
    """Raises `MissingCapability` where it was not fetched."""
    if own := os.environ.get(OWN):
        page, version = Path(own), "of your own"
        missing = f"{OWN} is {own}, and there is no such file"
    else:
        package = _directory() / "node_modules" / PACKAGE
        page, version = package / "dist" / "index.html", _version(package)
        missing = "Delta Chat's call UI was not fetched"
    if not page.is_file():
        raise MissingCapability("chromium", missing, heal=SETUP)
    return CallUi(page.absolute(), version)


def _directory() -> Path:
    """In the user's cache (XDG Base Directory Specification), where `./setup` puts it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "dc-harness" / "call-ui"


def _version(package: Path) -> str:
    try:
        return str(json.loads((package / "package.json").read_text())["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"
