"""Watching the edges of hosts through the phases of a check.

with Edges([alice, bob], capture=directory / "capture.pcapng") as edges:
    edges.begin("signalling")
    ...
    edges.begin("media")
    ...
    edges.settle(within=5)
    path = paths.of_call(edges.phase("media"), parties, paths.client_counts(stats), carried)
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ..closing import Closing
from ..network.links import Link
from ..network.preflight import preflight
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


class Edges(Closing):
    """Counters and capture at the outer ends of the links of hosts, by name of the host."""

    def __init__(
        self, hosts: Iterable[Watched], capture: Path | None = None, *, by_nft: bool | None = None
    ) -> None:
        """Counts from now on; whoever else was watching one of these hosts must not be read any more.

        `capture`: the file for what passes, without secrets. `by_nft`: False counts by packet sockets; None: where
        there is no `nft`.
        """
        self._by_nft = preflight().has("nft") if by_nft is None else by_nft
        self._links: dict[str, list[Link]] = {}
        self._begun: dict[str, Mapping[str, EdgeCounts]] = {}
        self._capture = Capture(capture)
        try:
            for host in hosts:
                self.follow(host)
        except BaseException:
            self.close()
            raise

    def follow(self, host: Watched) -> None:
        """Count at the link that this host has now; what was counted at its earlier ones stays in the account."""
        links = self._links.setdefault(host.name, [])
        if host.link not in links:
            if self._by_nft:
                flows.install(host.link)
            self._capture.watch(host.name, host.link, counting=not self._by_nft)
            links.append(host.link)

    def now(self, names: Collection[str] | None = None) -> dict[str, EdgeCounts]:
        """Counts since the watch began, of these hosts or of all. The streams come first, all as of one moment:
        listings take longer."""
        wanted = [name for name in self._links if names is None or name in names]
        streams = self._capture.streams(wanted)
        return {name: replace(self._counted(name), streams=streams[name]) for name in wanted}

    def begin(self, phase: str) -> None:
        """Start a phase, which ends where the next one starts. Names are used once."""
        if phase in self._begun:
            raise ValueError(f"there is a phase {phase} already")
        self._begun[phase] = self.now()

    def phase(self, name: str) -> dict[str, EdgeCounts]:
        """Counts of a phase; of the last one, until now. Raises `KeyError` for one that never began."""
        start = self._begun[name]
        begun = list(self._begun)
        following = begun[begun.index(name) + 1 :]
        end = self._begun[following[0]] if following else self.now()
        return {host: counts - start.get(host, EdgeCounts()) for host, counts in end.items()}

    def frames(self, names: Collection[str] | None = None) -> int:
        """Frames that have passed by now, at the edges of these hosts or of all."""
        return self._capture.frames(list(self._links) if names is None else names)

    def settle(self, *, within: float, names: Collection[str] | None = None) -> None:
        """Wait until nothing is on its way any more at the edges of these hosts, or of all. Raises `WaitTimeout`."""
        last, changed = self.frames(names), time.monotonic()

        def calm() -> bool:
            nonlocal last, changed
            before, last = last, self.frames(names)
            if before != last:
                changed = time.monotonic()
            return time.monotonic() - changed >= CALM

        wait_until(calm, f"{CALM} s without a packet at the edges", within=within)

    @property
    def dropped(self) -> dict[str, int]:
        """Frames that the capture has missed; the counters of `nft` have them all the same."""
        return {name: self._capture.dropped(name) for name in self._links}

    def _counted(self, name: str) -> EdgeCounts:
        if self._by_nft:
            return sum(map(flows.read, self._links[name]), start=EdgeCounts())
        return self._capture.counts(name)

    def close(self) -> None:
        """End the capture; what stays of the counters ends with the lab. A second call does nothing."""
        self._capture.close()
