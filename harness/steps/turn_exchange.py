"""Two clients of one TURN server send each other datagrams, and every one is accounted for."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..clients.turn.client import Allocation, Received, TurnClient, TurnError
from ..clients.turn.ledger import NOTHING, Count
from ..clients.turn.messages import Address
from ..target import Target
from ..waiting import Deadline, WaitTimeout
from .outcome import Outcome, turn_ledger

__all__ = ["Peer", "allocated", "exchange", "waiting_payloads", "written"]

FIRST_BYTES = {"stun": 0x01, "dtls": 0x16, "rtp": 0x80, "other": 0xFF}
"""What the payloads of a call begin with (RFC 7983), by the words of the ledger."""
SIZES = (2, 21, 172, 1200)
"""Bytes: the smallest that we can tell apart, a check of connectivity, 20 ms of audio, a full packet of video."""
ROUNDS = 3
FIRST_CHANNEL = 0x4000
STRAGGLERS_WITHIN = 2.0
"""Seconds for datagrams that a later one has overtaken."""


@dataclass(frozen=True)
class Peer:
    """A client and what it has allocated."""

    client: TurnClient
    allocation: Allocation

    @property
    def relayed(self) -> Address:
        return self.allocation.relayed


@contextlib.contextmanager
def allocated(client: TurnClient) -> Iterator[Peer]:
    """The client with an allocation, which ends with the block. Closes the client."""
    with client:
        peer = Peer(client, client.allocate())
        try:
            yield peer
        finally:
            with contextlib.suppress(
                TurnError, WaitTimeout
            ):  # the server may be the reason why we are leaving
                client.refresh(0)


def exchange(outcome: Outcome, target: Target, first: Peer, second: Peer) -> None:
    """Send in both directions, first in Send indications, then over channels; then compare with the ledger."""
    peers = (first, second)
    for mine, other in (peers, peers[::-1]):
        mine.client.permit(other.relayed[0])
    for mine, other in (peers, peers[::-1]):
        for payload in _payloads():
            mine.client.send(other.relayed, payload)
        if not _judge(outcome, mine, other, Received(b"", peer=mine.relayed)):
            return
    for number, (mine, other) in enumerate((peers, peers[::-1]), FIRST_CHANNEL):
        mine.client.bind(number, other.relayed)
    for number, (mine, other) in enumerate((peers, peers[::-1]), FIRST_CHANNEL):
        for payload in _payloads():
            mine.client.send_on_channel(number, payload)
        if not _judge(outcome, mine, other, Received(b"", channel=2 * FIRST_CHANNEL + 1 - number)):
            return
    _compare_with_ledger(outcome, target, first, second)


def _payloads() -> list[bytes]:
    """What is sent in each direction: every payload different from every other."""
    kinds = [(first, size) for size in SIZES for first in FIRST_BYTES.values()] * ROUNDS
    return [bytes([first, number]).ljust(size, bytes([number])) for number, (first, size) in enumerate(kinds)]


def _judge(outcome: Outcome, sender: Peer, receiver: Peer, like: Received) -> bool:
    """Whether each payload arrives once, and from where it should: `like`, but for the data."""
    arrived = _receive_all(sender.client, receiver.client)
    way = "in Data indications" if like.channel is None else "over a channel"
    where = f"from {written(sender.relayed)} to {written(receiver.relayed)} {way} ({receiver.client.server})"
    fault = _fault([each.data for each in arrived])
    outcome.expect(not fault, f"{fault} {where}")
    strange = [each for each in arrived if (each.peer, each.channel) != (like.peer, like.channel)]
    if strange:
        seen = strange[0].peer and written(strange[0].peer)
        outcome.expect(
            False, f"the peer sees {seen or f'channel {strange[0].channel}'} as the source {where}"
        )
    return not fault and not strange


def _receive_all(sender: TurnClient, receiver: TurnClient) -> list[Received]:
    """What arrives until all is there, or too late, and what the server had sent besides."""
    sender.refresh()  # answered: the server has dealt with what came before
    arrived = waiting_payloads(receiver)
    missing = set(_payloads()) - {each.data for each in arrived}
    deadline = Deadline(STRAGGLERS_WITHIN)
    with contextlib.suppress(WaitTimeout):
        while missing:
            arrived.append(receiver.receive(within=deadline.remaining()))
            missing.discard(arrived[-1].data)
    return [*arrived, *waiting_payloads(receiver)]


def waiting_payloads(client: TurnClient) -> list[Received]:
    """What the server has sent until now: its answer to a Refresh comes behind all that."""
    client.refresh()
    waiting = []
    with contextlib.suppress(WaitTimeout):
        while True:
            waiting.append(client.receive(within=0))
    return waiting


def _fault(arrived: Sequence[bytes]) -> str:
    """What is wrong with what arrived; empty when it is what was sent."""
    sent = _payloads()
    if not arrived:
        return f"none of {len(sent)} datagrams arrived"
    counts = Counter(arrived)
    if missing := [payload for payload in sent if payload not in counts]:
        return f"{len(missing)} of {len(sent)} datagrams were lost or changed"
    if extra := sum(counts.values()) - len(sent):
        return f"{extra} datagrams too many arrived, of {len(sent)}"
    return ""


def _compare_with_ledger(outcome: Outcome, target: Target, first: Peer, second: Peer) -> None:
    """Both clients have sent everything in both ways: the ledger has to say the same."""
    ledger = turn_ledger(outcome, target, otherwise="only our own two clients were counted")
    if ledger is None:
        return
    sent = _by_class(_payloads() * 2)
    for mine, other in ((first, second), (second, first)):
        found = ledger.allocation_of(written(mine.allocation.mapped), written(mine.relayed))
        if found is None:
            outcome.expect(False, f"the ledger of TURN has no allocation with {written(mine.relayed)}")
            continue
        account = found.with_peer(written(other.relayed))
        for direction, counted in (("to", account.to_peer), ("from", account.to_client)):
            outcome.expect(
                counted == sent,
                f"the ledger of TURN counts {counted} {direction} the peer, the clients sent {sent}",
            )
        outcome.expect(not found.drops, f"the ledger of TURN says that it dropped {found.drops}")
    outcome.measurements[f"datagrams_each_way_{first.client.server.transport}"] = 2 * len(_payloads())


def _by_class(payloads: Sequence[bytes]) -> dict[str, Count]:
    names = {first: name for name, first in FIRST_BYTES.items()}
    counts = dict.fromkeys(FIRST_BYTES, NOTHING)
    for payload in payloads:
        counts[names[payload[0]]] += Count(1, len(payload))
    return counts


def written(address: Address) -> str:
    """As servers and URLs write it: `127.0.0.1:3478`, `[::1]:3478`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
