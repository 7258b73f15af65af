"""Settings of the relay service, which are its command line; everything else stands in its file (config.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..options import option
from ..service_settings import ServiceSettings

__all__ = ["RelaySettings"]


@dataclass(frozen=True, kw_only=True)
class RelaySettings(ServiceSettings):
    """One relay. The options are those of iroh-relay where it has them."""

    config_path: Path | None = option(
        "iroh-relay.toml", default=None, flags=("-c", "--config-path"), metavar="FILE"
    )
    dev: bool = option("plain HTTP, whatever the file says about TLS", default=False)
    stun_fd: int | None = option("answer STUN on this inherited UDP socket", default=None, metavar="N")

    def descriptors(self) -> tuple[int, ...]:
        return () if self.stun_fd is None else (self.stun_fd,)
