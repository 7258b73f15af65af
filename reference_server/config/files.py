"""The configuration files that one server is started with, or that are checked together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError
from . import maddy, relay
from .check import consistency
from .findings import Finding
from .maddy import MaddyConfig
from .relay import RelayFile

__all__ = ["ConfigFiles", "TooManyFiles", "load"]


class TooManyFiles(ConfigurationError):
    """Two files of one kind."""


@dataclass(frozen=True)
class ConfigFiles:
    """At most one of each kind."""

    maddy: MaddyConfig | None = None
    relay: RelayFile | None = None

    def findings(self) -> list[Finding]:
        """Everything that is wrong, in the order of files and lines."""
        found = consistency(self.maddy, self.relay)
        for file in (self.maddy, self.relay):
            found += file.findings if file else ()
        return sorted(found, key=lambda finding: finding.place)


def load(paths: Sequence[Path], *, public_ip: str | None = None) -> ConfigFiles:
    """Read the files; one whose name ends in `.toml` is the relay's, any other is a maddy.conf.

    Raises `ConfigurationError` for what cannot be read as such a file, `OSError` for what cannot be read at all.
    """
    tomls = [path for path in paths if path.suffix == ".toml"]
    others = [path for path in paths if path.suffix != ".toml"]
    if len(tomls) > 1 or len(others) > 1:
        raise TooManyFiles("give one maddy.conf and one iroh-relay.toml at most")
    return ConfigFiles(
        maddy.load(others[0], public_ip=public_ip) if others else None,
        relay.load(tomls[0]) if tomls else None,
    )
