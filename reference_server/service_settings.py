"""Options that every service has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .options import option

__all__ = ["ServiceSettings"]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """Settings that every service has."""

    control: Path | None = option("unix socket (docs/control-protocol.md)", default=None, metavar="PATH")
    ledger: bool = option("remember who connected and what was carried", default=False)
    public: bool = option("allow an address that others can reach", default=False)

    def descriptors(self) -> tuple[int, ...]:
        """Open sockets that the service inherits from the process that starts it."""
        return ()
