"""Metrics of iroh-relay: what it says it took from its clients and gave to them, all of them together."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...hosts import Host
from ...urls import RelayUrl
from .client import RelayError, probe

__all__ = ["RelayMetrics", "read_metrics"]

SAMPLE = re.compile(r"^relayserver_(\w+)_total ([0-9]{1,20})$", re.MULTILINE)
HEADER = 37
"""Bytes of a data frame before its payload: type, length and the other client's key (generation 0.35)."""
WITHIN = 5.0


@dataclass(frozen=True)
class RelayMetrics:
    """Bytes of data frames, with their headers; pings, log-ins and HTTP are none of it."""

    taken: int
    given: int

    @classmethod
    def parse(cls, text: str) -> RelayMetrics:
        """From the text format of Prometheus. Raises `RelayError` where a count is missing."""
        found = {name: int(value) for name, value in SAMPLE.findall(text)}
        try:
            return cls(
                found["bytes_recv"] + HEADER * found["send_packets_recv"],
                found["bytes_sent"] + HEADER * found["send_packets_sent"],
            )
        except KeyError as error:
            raise RelayError(f"the relay's metrics have no {error}") from error

    def __sub__(self, earlier: RelayMetrics) -> RelayMetrics:
        return RelayMetrics(self.taken - earlier.taken, self.given - earlier.given)


def read_metrics(host: Host, url: RelayUrl) -> RelayMetrics:
    """Ask for them at `url`, of the listener that is for nothing else. Raises `RelayError`, `WaitTimeout`."""
    answer = probe(host, url, "/metrics", within=WITHIN)
    if answer.status != 200:
        raise RelayError(f"{url} answered with {answer.status} for its metrics")
    return RelayMetrics.parse(answer.body.decode(errors="replace"))
