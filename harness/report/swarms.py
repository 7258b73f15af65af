"""Realtime data for people, out of records: who heard whom, and which way between which networks. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from .records import Record

__all__ = ["render_networks", "render_swarms"]

NETWORKS = "realtime_paths.data_takes_the_way_that_networks_allow"
PHASE = ", established"


LEGEND = "5/10: five of ten arrived; +2: two came twice; ~3: three came after a later one; ?1: one that nobody sent."


def render_swarms(records: Sequence[Record]) -> str:
    """The truth table of each swarm, with milliseconds; empty if there was none."""
    found = []
    for record in records:
        messages = record.measurements.get("messages")
        if isinstance(messages, dict) and "table" in messages:
            took = f"{messages['latency_ms_median']} ms, {messages['latency_ms_max']} ms at most"
            found.append("\n".join([f"{record.check} ({took})", *messages["table"]]))
    return "\n\n".join([*found, LEGEND]) if found else ""


def render_networks(records: Sequence[Record]) -> str:
    """One line and one column for each kind of network; empty if no pair was tried."""
    ways = {
        tuple(pair.removesuffix(PHASE).split(" with ")): path.partition("(")[0]
        for record in records
        if record.check == NETWORKS
        for pair, path in record.paths.items()
        if pair.endswith(PHASE)
    }
    if not ways:
        return ""
    names = list(dict.fromkeys(name for pair in ways for name in pair))
    rows = [["", *names]]
    for one in names:
        rows.append([one, *(ways.get((one, other)) or ways.get((other, one), "") for other in names)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
