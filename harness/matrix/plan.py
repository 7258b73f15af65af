"""Cells of a matrix: which combinations are tried, and on which of several machines. Pure functions of the registry.

Combinations are chosen by `covertable`: each two values of two axes are together in one cell at least. The same
registry, seed and versions give the same cells everywhere, so that machines agree on them without talking.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from covertable import make

from ..report.cells import CellOf, MatrixPlan, Part, Shard
from .registry import Interop, Scenario, ServerEntry

__all__ = ["ALL", "PAIRWISE", "Axes", "Plan", "in_shard", "plan", "shard_of"]

ALL, PAIRWISE = "all", "pairwise"


@dataclass(frozen=True)
class Axes:
    """Values of each axis that were chosen, with versions as they were resolved."""

    servers: tuple[str, ...]
    clients: tuple[str, ...]
    peers: tuple[str, ...]
    networks: tuple[str, ...]
    scenarios: tuple[str, ...]
    reference_client: str


@dataclass(frozen=True)
class Plan:
    """All cells, in the order in which they are told."""

    cells: tuple[CellOf, ...]
    combinations: int
    """Cells that all combinations would be."""

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(each.name for each in self.cells).encode()).hexdigest()

    def seen(
        self, interop: Interop, axes: Axes, *, pairs: str, seed: int, repeat: int, shard: Shard
    ) -> MatrixPlan:
        """For the head of the run."""
        return MatrixPlan(
            registry=interop.file.name,
            digest=self.digest,
            seed=seed,
            pairs=pairs,
            servers=axes.servers,
            clients=axes.clients,
            peers=axes.peers,
            networks=axes.networks,
            scenarios=axes.scenarios,
            reference_server=interop.reference_server,
            reference_client=axes.reference_client,
            repeat=repeat,
            combinations=self.combinations,
            must=tuple(each for each in interop.must if each in axes.scenarios),
            expected_reds=interop.known,
            shard=shard,
        )


def plan(
    interop: Interop,
    axes: Axes,
    kills: Mapping[str, Mapping[str, str]],
    *,
    pairs: str = PAIRWISE,
    seed: int = 1,
    repeat: int = 1,
) -> Plan:
    """All cells, with those of both controls. `kills`: mutant -> check -> words of the failure that it declares.

    Raises `ValueError` for a mutant that no scenario can show to be wrong.
    """
    found: list[CellOf] = []
    combinations = 0
    right = [interop.servers[name] for name in axes.servers if not interop.servers[name].mutant]
    for alike in _alike([interop.scenarios[name] for name in axes.scenarios]):
        every, chosen = _combined(right, alike, axes, pairs, seed)
        combinations += every
        found += chosen
    repeated = [replace(each, attempt=number) for each in found for number in range(1, repeat + 1)]
    made_up = [CellOf(each.name, "made-up", part=Part.MADE_UP) for each in right]
    mutants = [
        cell
        for name in axes.servers
        if interop.servers[name].mutant
        for cell in _of_mutant(interop, interop.servers[name], axes, kills)
    ]
    cells = (*repeated, *made_up, *mutants)
    return Plan(tuple(replace(each, directory=_directory(each)) for each in cells), combinations)


def in_shard(cells: Sequence[CellOf], shard: Shard) -> list[CellOf]:
    """The cells of one shard. Controls of a server are in each: a machine that cannot see red proves nothing."""
    return [each for each in cells if shard_of(each, cells, shard.of) in (0, shard.number)]


def shard_of(cell: CellOf, cells: Sequence[CellOf], shards: int) -> int:
    """Number of the shard that a cell is in, from 1; 0: in each."""
    if cell.part is not Part.MATRIX:
        return 0
    return cells.index(cell) % shards + 1


def _alike(scenarios: Sequence[Scenario]) -> Iterator[list[Scenario]]:
    """Scenarios that the same axes make a difference to."""
    keys = dict.fromkeys(_axes_of(each) for each in scenarios)
    for key in keys:
        yield [each for each in scenarios if _axes_of(each) == key]


def _axes_of(scenario: Scenario) -> tuple[bool, bool, bool]:
    return scenario.clients, scenario.peers, scenario.networks


def _combined(
    servers: Sequence[ServerEntry], scenarios: Sequence[Scenario], axes: Axes, pairs: str, seed: int
) -> tuple[int, list[CellOf]]:
    """The number of all combinations of scenarios that are alike, and those that are tried."""
    clients, peers, networks = _axes_of(scenarios[0])
    factors = {
        "scenario": [each.name for each in scenarios],
        "server": [each.name for each in servers],
        "core_a": list(axes.clients) if clients else [""],
        "core_b": list(axes.clients) if clients else [""],
        "peer": list(axes.peers) if peers else [""],
        "networks": list(axes.networks) if networks else [""],
    }
    limits = {each.name: each.networks for each in servers if each.networks}

    def possible(row: Mapping[str, str]) -> bool:
        return not networks or row["networks"] in limits.get(row["server"], axes.networks)

    every: list[dict[str, Any]] = [
        dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())
    ]
    every = [row for row in every if possible(row)]
    constraint = {"operator": "fn", "requires": ["server", "networks"], "evaluate": possible}
    rows = every
    if pairs == PAIRWISE and every:
        rows = make(factors, salt=str(seed), constraints=[constraint])
    position = {name: values.index for name, values in factors.items()}
    rows = sorted(rows, key=lambda row: [position[name](row[name]) for name in factors])
    return len(every), [CellOf(**row) for row in rows]


def _of_mutant(
    interop: Interop, server: ServerEntry, axes: Axes, kills: Mapping[str, Mapping[str, str]]
) -> Iterator[CellOf]:
    """Each scenario once on a server that is wrong on purpose, with the reference client."""
    if server.mutant not in kills:
        raise ValueError(f"{server.name}: there is no mutant {server.mutant!r}; python -m mutants has all")
    declared = kills[server.mutant]
    scenarios = [interop.scenarios[name] for name in axes.scenarios]
    if not any(each.check.name in declared for each in scenarios):
        raise ValueError(
            f"{server.name} proves nothing: {server.mutant} is noticed by {', '.join(declared)}, "
            f"and no scenario that was chosen is one of these"
        )
    client = axes.reference_client
    for each in scenarios:
        yield CellOf(
            server.name,
            each.name,
            core_a=client if each.clients else "",
            core_b=client if each.clients else "",
            peer=axes.peers[0] if each.peers else "",
            networks=(server.networks or axes.networks)[0] if each.networks else "",
            part=Part.MUTANT,
            must_be_red=declared.get(each.check.name, ""),
        )


def _directory(cell: CellOf) -> str:
    return "cells/" + re.sub(r"[^\w.-]+", "-", cell.name)
