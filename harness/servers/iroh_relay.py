"""iroh-relay, the relay of iroh itself: a binary that somebody built, known by its path."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from ..hosts import Host, MissingCapability
from ..target import Service
from ..urls import RelayUrl
from .probes import answers_http
from .process import Process, free_port, refuse_taken, version_of
from .server import Place, Running, Wants, require

__all__ = ["BINARY_VARIABLE", "IrohRelay"]

BINARY_VARIABLE = "IROH_RELAY_BIN"
FIRST_WITHOUT_STUN = (0, 90)
"""Since this version a relay has no STUN, and ends at once on keys that it does not know."""
CONFIG = """\
enable_relay = true
http_bind_addr = "{listening}:{port}"
enable_metrics = true
metrics_bind_addr = "{address}:{metrics}"
access = "everyone"
"""


class IrohRelay:
    """The relay over plain HTTP, without STUN, as chatmail relay runs it; `turn` or nobody answers UDP 3478."""

    name = "iroh-relay"
    services = frozenset({Service.IROH_RELAY})
    translates = frozenset({"both_families"})

    def __init__(self, binary: Path | None = None) -> None:
        """`binary`: its path; None: that in the environment, `IROH_RELAY_BIN`."""
        self._binary = binary

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        require(self, wants)
        binary = self._path()
        version = version_of(host, binary)
        port = place.ports.iroh_relay if place.ports else free_port(host, place.address)
        metrics = free_port(host, place.address)
        refuse_taken(host, self.name, place.address, {"tcp": [port, metrics]})
        config = place.directory(self.name) / "iroh-relay.toml"
        listening = "[::]" if wants.both_families else place.address
        text = CONFIG.format(listening=listening, address=place.address, port=port, metrics=metrics)
        if _numbers(version) < FIRST_WITHOUT_STUN:
            text = f"enable_stun = false\n{text}"
        config.write_text(text)
        url = RelayUrl(False, place.address, port)
        process = Process(
            self.name,
            host,
            [binary, "--config-path", config],
            log=place.logs / "iroh-relay.log",
            ready=lambda: answers_http(host, url, "/ping"),
            ready_when=f"answer HTTP at {url}",
            within=place.within,
            version=f"iroh-relay {version}",
            environment={"RUST_LOG": "info", "NO_COLOR": "1"},
        )
        with ExitStack() as stack:
            stack.enter_context(process)
            process.start()
            return Running(
                self.name,
                {Service.IROH_RELAY: process},
                iroh_relay=url,
                relay_metrics=RelayUrl(False, place.address, metrics),
                capabilities=frozenset({"iroh_relay"}),
                ends=stack.pop_all(),
            )

    def _path(self) -> Path:
        path = self._binary or Path(os.environ.get(BINARY_VARIABLE, ""))
        heal = f"--server iroh-relay=PATH, or {BINARY_VARIABLE}=PATH in the environment"
        if path == Path():
            raise MissingCapability(
                "iroh-relay", "no binary of it is known, and no package has it", heal=heal
            )
        return path.absolute()


def _numbers(version: str) -> tuple[int, ...]:
    """Of `0.35.0`; of anything else none, which is old."""
    return tuple(int(word) for word in version.split(".") if word.isdecimal())
