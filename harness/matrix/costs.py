"""Cost of a cell while it runs, as it was measured (docs/matrix.md)."""

from __future__ import annotations

from .registry import Scenario

__all__ = ["cost_of"]

CALL = 0.8
"""Processors that two cores, two agents of a call and a server keep busy on average."""
REALTIME = 0.6
"""Two cores and a server in a lab."""
OTHERS = 0.4


def cost_of(scenario: Scenario) -> float:
    """Processors."""
    if scenario.peers:
        return CALL
    return REALTIME if scenario.networks or scenario.clients else OTHERS
