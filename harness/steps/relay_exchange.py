"""Two clients of the target's iroh relay send each other frames, and every one is accounted for."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from ..clients.relay.client import HttpAnswer, Packet, RelayClient, probe
from ..clients.relay.client_v1 import RelayClientV1
from ..hosts import Host
from ..stage.offers import require_generation_of_cores
from ..stage.stage import Stage
from ..target import Service, Target
from ..urls import RelayUrl
from ..waiting import WaitTimeout

__all__ = ["RELAY_FORWARDS", "WITHIN", "OwnRelay", "exchange"]

RELAY_FORWARDS = ("relay.relay_forwards_each_frame_once",)
"""For `after=`: where this check fails, devices do not come together, and no realtime data can be relayed."""
WITHIN = 10.0
"""Seconds for one answer of a relay."""
PAYLOAD_SIZES = (1, 38, 1200, 1201, 14_000, 65_000)
"""Bytes: the smallest, one as short as a disco header, two of a datagram's size, a batch, nearly the largest."""
ROUNDS = 4
END = b"end of this direction"


@dataclass(frozen=True)
class OwnRelay:
    """The target's iroh relay, as METADATA names it, for our own clients."""

    host: Host
    """Host on which the clients are."""
    target: Target
    url: RelayUrl
    tls: ssl.SSLContext | None
    """Verifies the relay as the target's, if it has TLS."""

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """Raises `PromiseBroken` for a missing, unusable or foreign value."""
        url = stage.own_relay()
        return cls(stage.host, stage.target, url, stage.target.ssl_context() if url.secure else None)

    def get(self, path: str) -> HttpAnswer:
        """GET one path. Raises `RelayError` when nothing answers in HTTP."""
        return probe(self.host, self.url, path, tls=self.tls, within=WITHIN)

    def client(self, **options: Any) -> RelayClient:
        """A client of generation 0.35 that has sent its log-in. `options`: those of `RelayClient`.

        Raises `PromiseBroken` where the relay is known not to speak it.
        """
        require_generation_of_cores(self.target)
        return RelayClient(self.host, self.url, tls=self.tls, within=WITHIN, **options)

    def client_v1(self, **options: Any) -> RelayClientV1:
        """A client of `iroh-relay-v1` or `-v2` that was let in. `options`: those of `RelayClientV1`."""
        return RelayClientV1(self.host, self.url, tls=self.tls, within=WITHIN, **options)


def exchange(stage: Stage, first: RelayClient, second: RelayClient) -> int:
    """Send frames of every size in both directions, judge what arrives, and compare with the relay's ledger.

    Returns how many went each way.
    """
    for sender, receiver in ((first, second), (second, first)):
        _send_one_direction(stage, sender, receiver)
    _compare_with_ledger(stage, first, second)
    return len(_payloads()) + 1


def _payloads() -> list[bytes]:
    """Payloads of one direction, every one different from every other."""
    return [
        number.to_bytes(1, "big") + bytes((number + position) % 251 for position in range(size - 1))
        for number, size in enumerate(PAYLOAD_SIZES * ROUNDS)
    ]


def _send_one_direction(stage: Stage, sender: RelayClient, receiver: RelayClient) -> None:
    sent = _payloads()
    for payload in [*sent, END]:
        sender.send(receiver.node_id, payload)
    try:
        arrived = receiver.receive_until(END, within=WITHIN)[:-1]
    except WaitTimeout:
        stage.outcome.expect(
            False,
            f"of {len(sent)} frames that one node sent to another, the last never arrived",
            cause="relay.does_not_forward",
        )
        return
    stage.outcome.expect(not (fault := _fault(sent, arrived, sender.node_id)), fault)


def _fault(sent: Sequence[bytes], arrived: Sequence[Packet], source: str) -> str:
    """Difference between the frames that arrived and those that were sent; empty when there is none."""
    payloads = [packet.payload for packet in arrived]
    if any(packet.source != source for packet in arrived):
        return "the relay forwarded a frame with another source key than the sender's"
    if missing := [payload for payload in sent if payload not in payloads]:
        return f"{len(missing)} of {len(sent)} frames were lost or changed; the first had {len(missing[0])} bytes"
    if extra := len(payloads) - len(sent):
        return f"{extra} of {len(sent)} frames were delivered twice"
    return "" if payloads == sent else "frames of one sender arrived out of order"


def _compare_with_ledger(stage: Stage, first: RelayClient, second: RelayClient) -> None:
    """Both clients have sent everything: the ledger has to say the same."""
    ledger = stage.ledger(Service.IROH_RELAY, otherwise="only our own two clients were counted")
    if ledger is None:
        return
    frames = len(_payloads()) + 1
    size = sum(map(len, _payloads())) + len(END)
    for sender, receiver in ((first, second), (second, first)):
        pair = ledger.pair(sender.node_id, receiver.node_id)
        stage.outcome.expect(
            (pair.frames, pair.bytes) == (frames, size),
            f"the relay's ledger says {pair.frames} frames and {pair.bytes} bytes for one direction, "
            f"the clients sent {frames} frames and {size} bytes",
        )
