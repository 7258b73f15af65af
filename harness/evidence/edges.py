"""Watching the edges of hosts through the phases of a check.

with Edges([alice, bob], capture=directory / "capture.pcapng") as edges:
    edges.begin("signalling")
    ...
    edges.begin("media")
    ...
    edges.settle(within=5)
    path = paths.of_call(edges.phase("media"), parties, paths.said(stats), carried)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ..network.links import Link
from ..waiting import wait_until
from . import flows
from .capture import Capture
from .flows import EdgeCounts

__all__ = ["Edges", "Watched"]

CALM = 0.1
"""Seconds without a packet after which nothing is on its way: acknowledgements of TCP are delayed by 40 ms."""


class Watched(Protocol):
    """A host whose way out has an outer end, such as `LabHost`."""

    @property
    def name(self) -> str: ...
    @property
    def link(self) -> Link: ...


class Edges:
    """Counters and capture at the outer ends of the links of hosts, by name of the host."""

    def __init__(self, hosts: Iterable[Watched], capture: Path | None = None) -> None:
        """Counts from now on; whoever else was watching one of these hosts must not be read any more.

        `capture`: the file for what passes, without secrets.
        """
        self._links = {host.name: host.link for host in hosts}
        self._open = ExitStack()
        self._begun: dict[str, Mapping[str, EdgeCounts]] = {}
        self._order: list[str] = []
        for link in self._links.values():
            flows.install(link)
        self._capture = self._open.enter_context(Capture(self._links, capture))

    def now(self) -> dict[str, EdgeCounts]:
        """What was counted since the watch began."""
        return {
            name: replace(flows.read(link), streams=self._capture.streams(name))
            for name, link in self._links.items()
        }

    def begin(self, phase: str) -> None:
        """Start a phase, which ends where the next one starts. Names are used once."""
        if phase in self._begun:
            raise ValueError(f"there is a phase {phase} already")
        self._begun[phase] = self.now()
        self._order.append(phase)

    def phase(self, name: str) -> dict[str, EdgeCounts]:
        """What was counted in a phase; in the last one, until now. Raises `KeyError` for one that never began."""
        start = self._begun[name]
        later = self._order[self._order.index(name) + 1 :]
        end = self._begun[later[0]] if later else self.now()
        return {host: end[host] - start[host] for host in self._links}

    def settle(self, *, within: float) -> None:
        """Wait until nothing is on its way any more. Raises `WaitTimeout`."""
        last, changed = self.now(), time.monotonic()

        def calm() -> bool:
            nonlocal last, changed
            before, last = last, self.now()
            if before != last:
                changed = time.monotonic()
            return time.monotonic() - changed >= CALM

        wait_until(calm, f"{CALM} s without a packet at the edges", within=within)

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that the capture has missed; the counters have them all the same."""
        return {name: self._capture.dropped(name) for name in self._links}

    def close(self) -> None:
        """End the capture; what stays of the counters ends with the lab. A second call does nothing."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
