"""TURN: whether it answers, whom it lets in, the address that it tells, and what it relays."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import ssl
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from ..calls.servers import TurnOffer
from ..clients.turn import stun
from ..clients.turn.client import (
    Allocation,
    TurnClient,
    TurnClosed,
    TurnCredentials,
    TurnError,
    TurnOpen,
    TurnRefused,
)
from ..clients.turn.messages import Address
from ..clients.turn.plain_peer import answer_arrives, bound_peer, first_arrival
from ..errors import plain
from ..hosts import Host
from ..report.looks import Allocated, CertificateLook, PortLook, TurnLook, TurnsLook
from ..text import clean
from ..urls import TurnUrl
from ..waiting import WaitTimeout
from .certificates import shake_hands
from .known_secrets import KNOWN
from .ports import reach, reached_of
from .together import side_by_side

__all__ = ["is_private", "look_at_turn", "look_at_turns", "try_known_secrets"]

WITHIN = 2.1
"""Seconds for one answer, in which a request is sent four times."""
ARRIVES_WITHIN = 0.7
"""Seconds for one of three datagrams."""
SHOWN = 120
FORBIDDEN = 403
HANGS = "takes connections, and does not answer STUN"
TRY_ALTERNATE = 300
PRIVATE_PEERS = ("127.0.0.1", "10.0.0.1", "169.254.169.254")
"""One of each kind of network that a relay on the internet must not talk to."""
PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10"),
    )
)
"""Addresses that nobody outside reaches. Those for documentation are none of them: they are somebody else's."""
AN_HOUR = 3600


@dataclass(frozen=True)
class _Place:
    """A TURN server at one address, and the addresses that are its operator's."""

    host: Host
    url: TurnUrl
    credentials: TurnCredentials
    own: Collection[str]

    def client(self, credentials: TurnCredentials | None = None) -> TurnClient:
        return TurnClient(self.host, self.url, credentials or self.credentials, within=WITHIN)

    def allocate(self, client: TurnClient) -> tuple[Allocated, Allocation]:
        allocation = client.allocate()
        address, port = allocation.relayed
        written = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        return Allocated("granted", relayed=written, place=self._of(address)), allocation

    def _of(self, address: str) -> Literal["own", "private", "foreign"]:
        if address in self.own:
            return "own"
        return "private" if is_private(address) else "foreign"


def look_at_turn(
    host: Host,
    offer: TurnOffer,
    addresses: Sequence[str],
    own: Collection[str],
    *,
    briefly: bool = False,
) -> TurnLook:
    """STUN over UDP at each address; then everything else at the first that answers, or STUN over TCP if none does.

    `briefly`: STUN alone, over both. `own`: addresses that are the server's; nothing is sent to another relayed
    address.
    """
    udp, tcp = _stun_at_each(host, addresses, offer.port, ("udp", "tcp") if briefly else ("udp",))
    answering = [each.address for each in udp if each.reached == "open"]
    if not briefly and not answering:
        _, tcp = _stun_at_each(host, addresses, offer.port, ("tcp",))
    look = TurnLook(offer.host, offer.port, udp, tcp)
    if briefly or not answering:
        return look
    look = replace(look, address=answering[0])
    place = _Place(host, TurnUrl("udp", answering[0], offer.port), offer.credentials, own)
    with place.client() as first, place.client() as second:
        look, allocation = _first(look, place, first)
        if allocation is not None:
            look = _relaying(look, place, first, allocation, second)
            _end(first)
    return look


def _stun_at_each(
    host: Host, addresses: Sequence[str], port: int, transports: Sequence[str]
) -> tuple[tuple[PortLook, ...], tuple[PortLook, ...]]:
    """STUN over UDP, and over TCP."""
    wanted = {
        (each, transport): partial(_stun, host, each, port, transport)
        for each in addresses
        for transport in transports
    }
    found = side_by_side(wanted, within=2 * WITHIN)
    udp, tcp = (
        tuple(found[each, transport] for each in addresses if (each, transport) in found)
        for transport in ("udp", "tcp")
    )
    return udp, tcp


def _stun(host: Host, address: str, port: int, transport: str) -> PortLook:
    """`open`: STUN is answered. Over TCP a connection without an answer is `silent`."""
    look = PortLook(f"turn/{transport}", address, port, "silent")
    url = TurnUrl("udp" if transport == "udp" else "tcp", address, port)
    connected = False
    try:
        with TurnClient(host, url, TurnCredentials("", ""), within=WITHIN) as client:
            connected = transport == "tcp"
            client.binding()
    except WaitTimeout:
        return replace(look, trouble=HANGS) if connected else look
    except TurnError as error:
        below = error.__cause__
        if connected and isinstance(error, TurnClosed):
            return replace(look, trouble=HANGS)
        if isinstance(below, OSError) and not isinstance(below, TimeoutError):
            return replace(look, reached=reached_of(below))
        return look if isinstance(below, TimeoutError) else replace(look, trouble=clean(str(error), SHOWN))
    return replace(look, reached="open")


def _first(look: TurnLook, place: _Place, client: TurnClient) -> tuple[TurnLook, Allocation | None]:
    """The first allocation. A 300 is followed once, as libwebrtc does."""
    try:
        look = replace(look, realm=clean(client.ask_for_realm(), SHOWN))
        answer, allocation = place.allocate(client)
        return replace(look, first=answer), allocation
    except TurnRefused as refusal:
        return _refused(look, place, refusal), None
    except (TurnError, WaitTimeout) as error:
        return replace(look, first=_unanswered(error)), None


def _unanswered(error: Exception) -> Allocated:
    if isinstance(error, TurnOpen):
        return Allocated("open", words=clean(str(error), SHOWN))
    silent = isinstance(error, WaitTimeout | TurnClosed)
    return Allocated("silent" if silent else "strange", words=clean(str(error), SHOWN))


def _answered(refusal: TurnRefused) -> Allocated:
    return Allocated("refused", refusal.code, clean(refusal.words.rstrip("\x00"), SHOWN))


def _refused(look: TurnLook, place: _Place, refusal: TurnRefused) -> TurnLook:
    first = _answered(refusal)
    look = replace(look, first=first, realm_refused="realm" in first.words.lower())
    if refusal.code != TRY_ALTERNATE or refusal.alternate is None:
        return look
    address, port = refusal.alternate
    look = replace(look, redirected_to=f"{address}:{port}")
    if port == 0 or address not in place.own:
        return look
    elsewhere = replace(place, url=TurnUrl("udp", address, port))
    try:
        with elsewhere.client() as client:
            answer, _ = elsewhere.allocate(client)
            _end(client)
    except TurnRefused as again:
        answer = _answered(again)
    except (TurnError, WaitTimeout) as error:
        answer = _unanswered(error)
    return replace(look, redirected=answer)


def is_private(address: str) -> bool:
    """Nobody outside reaches it."""
    found = ipaddress.ip_address(address)
    return any(found.version == each.version and found in each for each in PRIVATE_NETWORKS)


def _end(client: TurnClient) -> None:
    with contextlib.suppress(TurnError, WaitTimeout):
        client.refresh(0)


def _relaying(
    look: TurnLook, place: _Place, first: TurnClient, allocation: Allocation, second: TurnClient
) -> TurnLook:
    """What passes: between two allocations, and between one and a socket that has none."""
    look = replace(look, private_peers=tuple(_granted(first, allocation.relayed[0])))
    own = look.first is not None and look.first.place == "own"
    try:
        answer, other = place.allocate(second)
        look = replace(look, second=answer)
        if own and answer.place == "own":
            look = replace(look, pair=_pair(first, allocation.relayed, second, other.relayed))
        _end(second)
    except TurnRefused as refusal:
        look = replace(look, second=_answered(refusal))
    except (TurnError, WaitTimeout) as error:
        look = replace(look, second=_unanswered(error))
    return _plain_peer(look, place.host, first, allocation) if own else look


def _granted(client: TurnClient, own: str) -> Iterator[str]:
    """Peers of private networks that get a permission; that of the relayed address itself is none of them."""
    mine = ipaddress.ip_address(own)
    for peer in PRIVATE_PEERS:
        if _same_network(mine, ipaddress.ip_address(peer)):
            continue
        with contextlib.suppress(TurnError, WaitTimeout):
            client.permit(peer)
            yield peer


def _same_network(
    first: ipaddress.IPv4Address | ipaddress.IPv6Address,
    second: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> bool:
    """Both are loopback, link-local, or in the same private network: as in a test on one machine."""
    if first.version != second.version:
        return False
    if first.is_loopback or first.is_link_local:
        return (first.is_loopback, first.is_link_local) == (second.is_loopback, second.is_link_local)
    return first.is_private and second in ipaddress.ip_network(f"{first}/8", strict=False)


def _pair(first: TurnClient, first_at: Address, second: TurnClient, second_at: Address) -> bool:
    try:
        first.permit(second_at[0])
        second.permit(first_at[0])
        return _hears(first, second, second_at) and _hears(second, first, first_at)
    except (TurnError, WaitTimeout):
        return False


def _hears(sender: TurnClient, receiver: TurnClient, at: Address) -> bool:
    for _ in range(3):
        payload = b"\xff" + secrets.token_bytes(32)
        sender.send(at, payload)
        with contextlib.suppress(WaitTimeout):
            while receiver.receive(within=ARRIVES_WITHIN).data != payload:
                pass
            return True
    return False


def _plain_peer(look: TurnLook, host: Host, client: TurnClient, allocation: Allocation) -> TurnLook:
    """The server sees the peer at the address that it sees the client at: both are sockets of this machine."""
    mine = allocation.mapped[0]
    try:
        client.permit(mine)
    except TurnRefused as refusal:
        if refusal.code == FORBIDDEN and is_private(mine):
            words = (
                f"TURN relays to no peer at {mine}, and rightly so: look from a machine with a public address"
            )
        else:
            words = clean(str(refusal), SHOWN)
        return replace(look, outside_words=words)
    except (TurnError, WaitTimeout) as error:
        return replace(look, outside_words=clean(str(error), SHOWN))
    try:
        with bound_peer(host, allocation.relayed) as peer:
            seen = first_arrival(client, allocation.relayed, peer, within=ARRIVES_WITHIN)
            if seen is None:
                return replace(look, from_outside=False)
            back = answer_arrives(client, allocation.relayed, peer, seen, within=ARRIVES_WITHIN)
            return replace(look, from_outside=True, to_outside=back)
    except (TurnError, WaitTimeout, OSError) as error:
        return replace(look, outside_words=clean(str(error), SHOWN))


def try_known_secrets(host: Host, offer: TurnOffer, look: TurnLook) -> TurnLook:
    """Ask with credentials made of secrets that are well known, which are wrong passwords on most servers."""
    place = _Place(host, TurnUrl("udp", look.address, offer.port), offer.credentials, ())
    expires = int(time.time()) + AN_HOUR
    for tried, (secret, source) in enumerate(KNOWN.items(), start=1):
        look = replace(look, secrets_tried=tried)
        try:
            with place.client(TurnCredentials.from_secret(secret, expires)) as client:
                client.allocate()
                _end(client)
        except TurnRefused:
            continue
        except (TurnError, WaitTimeout):
            break
        return replace(look, secret_accepted=source)
    return look


def look_at_turns(host: Host, offer: TurnOffer, addresses: Sequence[str], trust: ssl.SSLContext) -> TurnsLook:
    """TURN over TLS at the first address of the offer: its certificate, and whether STUN is answered."""
    address = addresses[0] if addresses else offer.host
    reached, connection = reach(host, address, offer.port, WITHIN)
    look = TurnsLook(offer.host, offer.port, reached)
    if connection is None:
        return look
    wanted = CertificateLook("turns", address, offer.port, offer.host)
    session, certificate, trouble = shake_hands(host, connection, wanted, trust, within=WITHIN)
    look = replace(look, certificate=certificate, trouble=trouble)
    if session is None:
        return look
    transaction = secrets.token_bytes(12)
    try:
        with session:
            session.sendall(stun.binding_request(transaction))
            stun.mapped_address(session.recv(2048), transaction)
    except (stun.StunError, OSError) as error:
        return replace(look, trouble=f"TLS is answered, and STUN is not: {plain(error)}")
    return replace(look, answers=True)
