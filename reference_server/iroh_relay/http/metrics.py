"""The page of metrics: every counter of the relay as OpenMetrics text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from ..counters import RelayCounters
from ..stun import StunCounters
from .http1 import Answer, Request, Responder

__all__ = ["render", "responder"]


def render(groups: Mapping[str, RelayCounters | StunCounters]) -> str:
    """OpenMetrics text: every counter of every group, as `GROUP_NAME_total`."""
    lines: list[str] = []
    for group, counters in groups.items():
        for name, value in asdict(counters).items():
            lines += [f"# TYPE {group}_{name} counter", f"{group}_{name}_total {value}"]
    return "\n".join([*lines, "# EOF", ""])


def responder(relay: RelayCounters, stun: StunCounters) -> Responder:
    """Answers every request with the metrics, whatever its path, as upstream does."""

    def respond(_request: Request) -> Answer:
        text = render({"stun": stun, "relayserver": relay})
        return Answer(200, (("Content-Type", "text/plain; charset=utf-8"),), text.encode())

    return respond
