"""Counters of the relay, with the names of iroh-relay 0.35, and two of 1.x. `http.metrics` renders them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RelayCounters"]


@dataclass(slots=True)
class RelayCounters:
    """Group `relayserver`. Bytes are payload bytes; `*_dropped` counts packets for somebody who is not logged in.

    Upstream never counts the `other_packets_*`; they are here because its dashboards ask for them.
    """

    bytes_sent: int = 0
    bytes_recv: int = 0
    send_packets_sent: int = 0
    send_packets_recv: int = 0
    send_packets_dropped: int = 0
    disco_packets_sent: int = 0
    disco_packets_recv: int = 0
    disco_packets_dropped: int = 0
    other_packets_sent: int = 0
    other_packets_recv: int = 0
    other_packets_dropped: int = 0
    got_ping: int = 0
    sent_pong: int = 0
    unknown_frames: int = 0
    frames_rx_ratelimited_total: int = 0
    conns_rx_ratelimited_total: int = 0
    accepts: int = 0
    disconnects: int = 0
    unique_client_keys: int = 0
    websocket_accepts: int = 0
    relay_accepts: int = 0
    clients_inactive_added: int = 0
    clients_inactive_removed: int = 0

    def count_received(self, disco: bool, packets: int, size: int) -> None:
        self.bytes_recv += size
        if disco:
            self.disco_packets_recv += packets
        else:
            self.send_packets_recv += packets

    def count_sent(self, disco: bool, packets: int, size: int) -> None:
        self.bytes_sent += size
        if disco:
            self.disco_packets_sent += packets
        else:
            self.send_packets_sent += packets

    def count_dropped(self, disco: bool, packets: int) -> None:
        if disco:
            self.disco_packets_dropped += packets
        else:
            self.send_packets_dropped += packets
