"""Trace of the iroh endpoint inside a core: its own words on core's stderr, read as evidence.

It is the client's own word, apart from the server's ledger: which node ID it had, which relays it dialled, from
which local port, and whether it reached its peers directly. Core's Info events say none of this. The lines are
those of iroh 0.35.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["FILTER", "OWN_ID_DIGITS", "IrohTrace"]

OWN_ID_DIGITS = 10
"""Of a node ID's 64 digits, iroh's trace shows these."""

FILTER = "iroh=info,iroh::net_report::reportgen=debug,iroh_relay::client::tls=debug"
"""RUST_LOG for these lines, some thirty for an endpoint that lives for a minute.

`iroh=info` as a whole, because the span that names the endpoint is not of the module that writes the line.
"""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
OWN_ID = re.compile(r'\bme="?([0-9a-f]{10})\b')
RELAY_URL = re.compile(r"https?://[^\s/)\"}]+")
HOME_RELAY = re.compile(r"home is now relay (\S+?)\.?((?::\d+)?/?), was")
"""iroh writes a dot behind names."""
RELAY_SOCKET = re.compile(r"TCP stream connected server_addr=Ok\((\S+)\) local_addr=(\S+)")
PROBED = re.compile(r"\brelay_addr=(\S+)")
DIALLED = re.compile(r"iroh_relay::client::tls: connecting to (\S+)")
CONNECTION_TYPE = re.compile(r"new connection type typ=(.+)")


@dataclass(frozen=True)
class IrohTrace:
    """The facts in a trace, in order of time where there is an order."""

    own_ids: frozenset[str]
    """The first ten digits of each node ID that this process had."""
    home_relays: tuple[str, ...]
    """URLs, names without a dot at their end; a working endpoint has one."""
    relay_urls: frozenset[str]
    """Every relay that is mentioned, `scheme://host:port`."""
    relay_sockets: tuple[str, ...]
    """Our end (`address:port`) of each TCP connection to a relay."""
    contacted: frozenset[str]
    """`address:port` of what was dialled or asked for our address. Peers are not among them."""
    connection_types: tuple[str, ...]
    """Connection types of its peers: `relay(URL)`, `direct(address:port)`, `mixed(...)`."""

    @classmethod
    def parse(cls, text: str) -> IrohTrace:
        """Read core's stderr; lines of others do no harm."""
        text = COLOUR.sub("", text)
        sockets = RELAY_SOCKET.findall(text)
        contacted = {server for server, _local in sockets}
        return cls(
            own_ids=frozenset(OWN_ID.findall(text)),
            home_relays=tuple("".join(each) for each in HOME_RELAY.findall(text)),
            relay_urls=frozenset(RELAY_URL.findall(text)),
            relay_sockets=tuple(local for _server, local in sockets),
            contacted=frozenset(contacted.union(PROBED.findall(text), DIALLED.findall(text))),
            connection_types=tuple(each.strip() for each in CONNECTION_TYPE.findall(text)),
        )

    def hosts(self) -> frozenset[str]:
        """The name or address of every relay that is mentioned and of everything that was contacted."""
        return frozenset(_host(each) for each in [*self.relay_urls, *(f"//{end}" for end in self.contacted)])

    def foreign(self, allowed: Iterable[str]) -> frozenset[str]:
        """The hosts that are not among the allowed ones."""
        return self.hosts() - frozenset(allowed)


def _host(url: str) -> str:
    return (urlsplit(url).hostname or url).rstrip(".")
