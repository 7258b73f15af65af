"""Two clients of the target's TURN server send each other datagrams, and every one is accounted for."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from ..calls.servers import TurnOffer
from ..clients.turn.client import Allocation, Received, TurnClient, TurnCredentials, TurnError, TurnRefused
from ..clients.turn.ledger import NOTHING, Count
from ..clients.turn.messages import Address
from ..hosts import MissingCapability
from ..look.turn import is_private
from ..report.observations import Measured
from ..stage.offers import belongs_to
from ..stage.outcome import Outcome, PromiseBroken
from ..stage.stage import Stage
from ..target import Service, Target
from ..urls import TurnUrl
from ..waiting import Deadline, WaitTimeout

__all__ = [
    "FIRST_CHANNEL",
    "LONGEST_WAIT",
    "AllocatedClient",
    "OwnTurn",
    "allocated",
    "exchange",
    "expiry_of",
    "refusal_of",
    "waiting_payloads",
    "written",
]

WITHIN = 5.0
"""Seconds for one answer of a TURN server."""
FIRST_BYTES = {"stun": 0x01, "dtls": 0x16, "rtp": 0x80, "other": 0xFF}
"""First bytes of the payloads of a call (RFC 7983), by the words of the ledger."""
SIZES = (2, 21, 172, 1200)
"""Bytes: the smallest that we can tell apart, a connectivity check, 20 ms of audio, a full packet of video."""
ROUNDS = 3
FIRST_CHANNEL = 0x4000
TRY_ALTERNATE = 300
STRAGGLERS_WITHIN = 2.0
"""Seconds for datagrams that a later one has overtaken."""
LONGEST_WAIT = 60.0
"""Seconds that a check waits for credentials to expire."""


@dataclass(frozen=True)
class AllocatedClient:
    """A client with its allocation."""

    client: TurnClient
    allocation: Allocation

    @property
    def relayed(self) -> Address:
        return self.allocation.relayed


@contextlib.contextmanager
def allocated(client: TurnClient) -> Iterator[AllocatedClient]:
    """The client with an allocation, which ends with the block. Closes the client.

    A server may send it to another one (300 Try Alternate), and that is followed once, as libwebrtc does. Raises
    `TurnError` where that one sends it on.
    """
    with contextlib.ExitStack() as stack:
        peer = _redirected_once(stack, stack.enter_context(client))
        try:
            yield peer
        finally:
            # The server may be the reason why we are leaving.
            with contextlib.suppress(TurnError, WaitTimeout):
                peer.client.refresh(0)


def _redirected_once(stack: contextlib.ExitStack, client: TurnClient) -> AllocatedClient:
    try:
        return AllocatedClient(client, client.allocate())
    except TurnRefused as refusal:
        if refusal.code != TRY_ALTERNATE or refusal.alternate is None:
            raise
        first = refusal.alternate
    other = stack.enter_context(client.at(first))
    try:
        return AllocatedClient(other, other.allocate())
    except TurnRefused as refusal:
        if refusal.code != TRY_ALTERNATE:
            raise
        second = written(refusal.alternate) if refusal.alternate else "nowhere"
        raise TurnError(
            f"{client.server} sends clients to {written(first)} (300 Try Alternate), which sends them on to {second}: "
            "clients follow once, and then give up"
        ) from refusal


@dataclass(frozen=True)
class OwnTurn:
    """The target's TURN server, as METADATA offers it, for our own clients."""

    stage: Stage
    offer: TurnOffer

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """Raises `PromiseBroken` for a missing, unusable or foreign value."""
        return cls(stage, stage.own_turn())

    @property
    def url(self) -> TurnUrl:
        """Over UDP, as Delta Chat clients use it."""
        return TurnUrl("udp", self.offer.host, self.offer.port)

    def client(self, *, url: TurnUrl | None = None, credentials: TurnCredentials | None = None) -> TurnClient:
        """A client with the offered credentials, or others; `url`: another listener."""
        url = url or self.url
        tls = self.stage.target.ssl_context() if url.transport == "tls" else None
        return TurnClient(self.stage.host, url, credentials or self.offer.credentials, tls=tls, within=WITHIN)

    def ask(self, request: Callable[[TurnClient], object], url: TurnUrl | None = None) -> None:
        """Make one request over a socket of its own, with the offered credentials."""
        with self.client(url=url) as client:
            request(client)

    def allocate(self, *, url: TurnUrl | None = None, credentials: TurnCredentials | None = None) -> None:
        """Get an allocation and end it. Raises `TurnRefused` and its like, and `PromiseBroken` as `peers` does."""
        with allocated(self.client(url=url, credentials=credentials)) as peer:
            self._expect_own_address(peer)

    @property
    def is_granted(self) -> bool:
        """The server takes the credentials that METADATA gives."""
        try:
            self.allocate()
        except (TurnError, WaitTimeout):
            return False
        return True

    @contextlib.contextmanager
    def peers(self, url: TurnUrl | None = None) -> Iterator[tuple[AllocatedClient, AllocatedClient]]:
        """Two clients with allocations. Raises `PromiseBroken` for a relayed transport address that is not the
        target's own; nothing is sent to any other."""
        with allocated(self.client(url=url)) as first, allocated(self.client(url=url)) as second:
            self._expect_own_address(first)
            self._expect_own_address(second)
            yield first, second

    def _expect_own_address(self, peer: AllocatedClient) -> None:
        target = self.stage.target
        if not belongs_to(target, peer.relayed[0], self.stage.host):
            place = "private" if is_private(peer.relayed[0]) else "foreign"
            raise PromiseBroken(
                f"TURN tells clients the relayed transport address {written(peer.relayed)}, "
                f"which is no address of {target.host} ({target.domain})",
                cause=f"turn.relayed_address_{place}",
            )


def refusal_of(request: Callable[[], object]) -> TurnRefused | None:
    """The error answer to a request; None for success."""
    try:
        request()
    except TurnRefused as refusal:
        return refusal
    return None


def expiry_of(offer: TurnOffer, target: Target) -> int:
    """The unix second at which the credentials expire. Raises `MissingCapability` when nobody would wait for it."""
    seconds = int(offer.username) - int(time.time())
    if seconds > LONGEST_WAIT:
        raise MissingCapability(
            "short_turn_ttl",
            f"the TURN credentials of {target.name} expire in {seconds} s, and this check waits for "
            f"{LONGEST_WAIT:g} s at most",
            heal=f"let the server give credentials for {LONGEST_WAIT:g} s or less (turn_ttl)",
        )
    return int(offer.username)


def exchange(stage: Stage, first: AllocatedClient, second: AllocatedClient) -> None:
    """Send in both directions, first in Send indications, then over channels; then compare with the ledger."""
    outcome, peers = stage.outcome, (first, second)
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
    transport = first.client.server.transport.upper()
    outcome.observe(Measured("sent each way", 2 * len(_payloads()), "datagrams", f"TURN over {transport}"))
    _compare_with_ledger(stage, first, second)


def _payloads() -> list[bytes]:
    """Payloads of one direction, every one different from every other."""
    kinds = [(first, size) for size in SIZES for first in FIRST_BYTES.values()] * ROUNDS
    return [bytes([first, number]).ljust(size, bytes([number])) for number, (first, size) in enumerate(kinds)]


def _judge(outcome: Outcome, sender: AllocatedClient, receiver: AllocatedClient, like: Received) -> bool:
    """True when each payload arrives once, and from where it should: `like`, but for the data."""
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
    """Everything that arrives until all is there, or too late, and the payloads that the server had sent besides."""
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
    """Payloads that the server has sent until now: its answer to a Refresh comes behind them."""
    client.refresh()
    waiting = []
    with contextlib.suppress(WaitTimeout):
        while True:
            waiting.append(client.receive(within=0))
    return waiting


def _fault(arrived: Sequence[bytes]) -> str:
    """Difference between the datagrams that arrived and those that were sent; empty when there is none."""
    sent = _payloads()
    if not arrived:
        return f"none of {len(sent)} datagrams arrived"
    counts = Counter(arrived)
    if missing := [payload for payload in sent if payload not in counts]:
        return f"{len(missing)} of {len(sent)} datagrams were lost or changed"
    if extra := sum(counts.values()) - len(sent):
        return f"{extra} datagrams too many arrived, of {len(sent)}"
    return ""


def _compare_with_ledger(stage: Stage, first: AllocatedClient, second: AllocatedClient) -> None:
    """Both clients have sent everything in both ways: the ledger has to say the same."""
    ledger = stage.ledger(Service.TURN, otherwise="only our own two clients were counted")
    if ledger is None:
        return
    outcome = stage.outcome
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
