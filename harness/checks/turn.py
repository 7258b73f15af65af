"""The TURN server that the target advertises relays, for those who may use it and to those who want it.

Our own client talks to it; no Delta Chat core is involved, and no call (calls.py has them).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from ..calls.servers import TurnOffer
from ..clients.turn.client import TurnClient, TurnCredentials, TurnError, TurnRefused, TurnUrl
from ..clients.turn.messages import Address, Kind, Message, Method
from ..hosts import Host, MissingCapability
from ..steps.outcome import Outcome, PromiseBroken, check, current_outcome, turn_ledger
from ..steps.turn_exchange import Peer, allocated, exchange, waiting_payloads, written
from ..target import Impact, Target
from ..waiting import wait_until
from .discovery import belongs_to, offered_turn

__all__ = [
    "SHORT_TTL",
    "expiry_of",
    "turn_allocates_with_offered_credentials",
    "turn_credentials_expire",
    "turn_enforces_permissions",
    "turn_is_offered",
    "turn_refuses_wrong_credentials",
]

WITHIN = 5.0
PASSWORD_BYTES = 20
"""An HMAC-SHA1."""
LONGEST_TTL = 366 * 86_400
"""Seconds. Whoever writes milliseconds is off by some fifty thousand years."""
LATER = 86_400
"""Seconds by which somebody would like to prolong credentials."""
SHORT_TTL = ("--turn-ttl", "4")
LONGEST_WAIT = 60.0
"""Seconds that a check waits for credentials to expire."""
CLOCKS_DIFFER = 1.0
"""Seconds after the expiry by our clock, at which it is over by the server's, too."""
CHANNEL = 0x4000
NO_PEERS = (
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),  # noqa: S104
    *("172.16.0.1", "192.168.0.1", "224.0.0.1"),
)
"""One address of each kind that no relay may talk to, but for relays of its own."""
SOME_PORT = 9
PAYLOAD = b"\xffthis must not arrive"


@check("DISC-3", "TURN-1", "TURN-9", needs=("turn",))
def turn_is_offered(target: Target, host: Host) -> Outcome:
    """METADATA gives the target's own TURN server, with credentials that expire and look like an HMAC-SHA1."""
    offer = offered_turn(target, host)
    outcome = current_outcome()
    seconds = int(offer.username) - int(time.time())
    outcome.measurements |= {"turn": f"{offer.host}:{offer.port}", "turn_ttl": seconds}
    outcome.expect(seconds > 0, f"the TURN credentials expired {-seconds} s ago: {offer}")
    outcome.expect(
        seconds <= LONGEST_TTL,
        f"the TURN credentials live for {seconds // 86_400} days: {offer.username} must be an expiry in unix seconds",
    )
    return outcome.expect(
        _is_hmac(offer.password), f"the password of {offer} is not the base64 of {PASSWORD_BYTES} bytes"
    )


def _is_hmac(password: str) -> bool:
    try:
        return len(base64.b64decode(password, validate=True)) == PASSWORD_BYTES
    except binascii.Error:
        return False


@check("DISC-6", "TURN-2", "TURN-5", "TURN-6", needs=("turn",))
def turn_allocates_with_offered_credentials(target: Target, host: Host) -> Outcome:
    """With the credentials of METADATA two clients allocate and reach each other, over each transport there is."""
    offer = offered_turn(target, host)
    outcome = current_outcome()
    listeners = {url.transport: url for url in target.turn if url.transport != "udp"}
    for transport in ("tcp", "tls"):
        if transport not in listeners:
            outcome.note(f"TURN over {transport.upper()} was not tried: the target names no such listener")
    for url in (_advertised(offer), *listeners.values()):
        with outcome.expect_to_arrive(TurnError), _two(target, host, url, offer) as (first, second):
            exchange(outcome, target, first, second)
    return outcome


@check("TURN-2", "TURN-3", "TURN-4", needs=("turn",), impact=Impact.LEAVES_TRACES)
def turn_refuses_wrong_credentials(target: Target, host: Host) -> Outcome:
    """Another password, another realm, a prolonged and an expired user name are refused; the right ones are not."""
    offer = offered_turn(target, host)
    right, server = offer.credentials, _advertised(offer)
    long_ago, much_later = str(int(time.time()) - LATER), str(int(offer.username) + LATER)
    made_up = TurnCredentials.from_secret("a secret of nobody", offer.username).password
    outcome = current_outcome()
    with outcome.expect_to_arrive(TurnError):
        with _client(target, host, server, right) as client:
            _expect_signed_error(outcome, client)
        _allocate(target, host, server, right)
        for what, wrong in {
            "another password": replace(right, password=made_up),
            "a later expiry with the old password": replace(right, username=much_later),
            "an expiry in the past": TurnCredentials(long_ago, made_up),
            "an earlier expiry with the old password": replace(right, username=long_ago),
            "another realm": replace(right, realm="realm-of-nobody.example"),
        }.items():
            refusal = _refusal(partial(_allocate, target, host, server, wrong))
            if refusal is None:
                outcome.expect(False, f"{server} accepts credentials with {what}")
            elif wrong.realm is None:
                outcome.expect(refusal.code == 401, f"with {what}: {refusal}, instead of 401")
            elif refusal.code != 401:
                outcome.note(f"with {what}: {refusal}, RFC 8489 asks for 401")
    return outcome


@check("TURN-4", needs=("turn",), server=SHORT_TTL)
def turn_credentials_expire(target: Target, host: Host) -> Outcome:
    """When credentials have expired, the allocations that were made with them go on, and there is no new one."""
    offer = offered_turn(target, host)
    expires = expiry_of(offer, target)
    server = _advertised(offer)
    outcome = current_outcome()
    with outcome.expect_to_arrive(TurnError), _two(target, host, server, offer) as (first, second):
        wait_until(
            lambda: time.time() > expires + CLOCKS_DIFFER,
            "the credentials to expire",
            within=2 * LONGEST_WAIT,
        )
        with outcome.expect_to_arrive(
            TurnError, what="an allocation must outlive the credentials that it was made with"
        ):
            exchange(outcome, target, first, second)
        refusal = _refusal(partial(_allocate, target, host, server, offer.credentials))
        if refusal is None:
            outcome.expect(False, f"{server} grants a new allocation with credentials that have expired")
        else:
            outcome.expect(refusal.code == 401, f"with expired credentials: {refusal}, instead of 401")
    return outcome


def expiry_of(offer: TurnOffer, target: Target) -> int:
    """The unix second at which the credentials expire. Raises `MissingCapability` when nobody would wait for it."""
    seconds = int(offer.username) - int(time.time())
    if seconds > LONGEST_WAIT:
        raise MissingCapability(
            "short_turn_ttl",
            f"the TURN credentials of {target.name} expire in {seconds} s, and this check waits for "
            f"{LONGEST_WAIT:g} s at most",
            heal=f"start the server with --turn-ttl {LONGEST_WAIT:g}, or what it has for that",
        )
    return int(offer.username)


def _expect_signed_error(outcome: Outcome, client: TurnClient) -> None:
    """aioice ignores an unsigned error to a signed request, and waits for another answer until it gives up.

    The error is one that coturn signs; its 437 and 441 it does not, against RFC 8489, section 9.2.4.
    """
    refusal = _refusal(partial(client.allocate, protocol=None))
    if refusal is None:
        outcome.expect(False, f"{client.server} grants an Allocate that has no REQUESTED-TRANSPORT")
        return
    outcome.expect(refusal.code == 400, f"an Allocate without REQUESTED-TRANSPORT: {refusal}, instead of 400")
    outcome.expect(refusal.signed, f"an error after authentication is not signed: {refusal}")


def _allocate(target: Target, host: Host, server: TurnUrl, credentials: TurnCredentials) -> None:
    with _client(target, host, server, credentials) as client, allocated(client):
        pass


@check("TURN-11", needs=("turn",))
def turn_enforces_permissions(target: Target, host: Host) -> Outcome:
    """Nothing passes without a permission, a channel includes one, and nobody gets one for the server's own network."""
    offer = offered_turn(target, host)
    url = _advertised(offer)
    outcome = current_outcome()
    with outcome.expect_to_arrive(TurnError):
        with _two(target, host, url, offer) as (first, second):
            _expect_permission_is_needed(outcome, target, first, second)
        with _two(target, host, url, offer) as (first, second):
            _expect_channel_includes_permission(outcome, first, second)
        with _two(target, host, url, offer) as (first, _second):
            _expect_refusals(outcome, target, first)
            _expect_nothing_at_own_services(outcome, target, host, first)
    return outcome


def _expect_permission_is_needed(outcome: Outcome, target: Target, closed: Peer, open_: Peer) -> None:
    """One of two allocations has given a permission, the other one none."""
    open_.client.permit(closed.relayed[0])
    closed.client.send(open_.relayed, PAYLOAD)
    closed.client.refresh()  # answered: the server has dealt with what came before
    outcome.expect(
        not waiting_payloads(open_.client), "a Send indication was relayed without a permission for its peer"
    )
    open_.client.send(closed.relayed, PAYLOAD)
    open_.client.refresh()
    outcome.expect(not waiting_payloads(closed.client), "data of a peer arrived without a permission for it")
    ledger = turn_ledger(outcome, target, otherwise="what was dropped was not counted")
    if ledger is None:
        return
    found = ledger.allocation_of(written(closed.allocation.mapped), written(closed.relayed))
    drops = None if found is None else found.drops.get("no_permission")
    outcome.expect(
        drops is not None and (drops.packets, drops.bytes) == (2, 2 * len(PAYLOAD)),
        f"the ledger of TURN says {drops} of two datagrams that were sent without a permission",
    )


def _expect_channel_includes_permission(outcome: Outcome, bound: Peer, other: Peer) -> None:
    """RFC 8656, section 12: ChannelBind installs a permission; aioice never asks for one besides."""
    bound.client.bind(CHANNEL, other.relayed)
    other.client.permit(bound.relayed[0])
    for sender, receiver in ((other, bound), (bound, other)):
        sender.client.send(receiver.relayed, PAYLOAD)
        with outcome.expect_to_arrive(what="a channel alone should let data through in both directions"):
            receiver.client.receive()


def _expect_refusals(outcome: Outcome, target: Target, peer: Peer) -> None:
    own = peer.relayed[0]
    for host in NO_PEERS:
        if host != own:  # relays of this server are peers; what else is at their address is tried below
            _expect_forbidden(outcome, f"a permission for {host}", partial(peer.client.permit, host))
        _expect_no_channel(outcome, peer, (host, SOME_PORT))
    for port in {url.port for url in (peer.client.server, *target.turn)}:
        _expect_no_channel(outcome, peer, (own, port))


def _expect_no_channel(outcome: Outcome, peer: Peer, address: Address) -> None:
    _expect_forbidden(
        outcome, f"a channel to {written(address)}", partial(peer.client.bind, CHANNEL, address)
    )


def _expect_forbidden(outcome: Outcome, what: str, request: Callable[[], object]) -> None:
    refusal = _refusal(request)
    if refusal is None:
        outcome.expect(False, f"TURN grants {what}")
    else:
        outcome.expect(refusal.code == 403, f"{what}: {refusal}, instead of 403")


def _expect_nothing_at_own_services(outcome: Outcome, target: Target, host: Host, peer: Peer) -> None:
    """The address of relays has other sockets, too: with a permission for it, Send must not reach them."""
    own = peer.relayed[0]
    peer.client.permit(own)
    for port in {url.port for url in (peer.client.server, *target.turn) if url.transport == "udp"}:
        peer.client.send((own, port), Message(Method.BINDING, Kind.REQUEST).encode())
    outcome.expect(not waiting_payloads(peer.client), "the server talks to itself through a relay")
    if not ipaddress.ip_address(own).is_loopback:
        outcome.note(
            "whether datagrams reach other programs of the server was not tried: they are out of sight"
        )
        return
    for address in {own, "127.0.0.1"}:
        with _program(host, address) as program:
            peer.client.send(program.getsockname()[:2], PAYLOAD)
            peer.client.refresh()
            outcome.expect(not _has_received(program), f"a datagram was relayed to a program on {address}")


@contextmanager
def _program(host: Host, address: str) -> Iterator[socket.socket]:
    """Somebody else's UDP service on the machine of the server."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((address, 0))
        bound.setblocking(False)
        yield bound


def _has_received(program: socket.socket) -> bool:
    try:
        return bool(program.recv(1))
    except BlockingIOError:
        return False


def _refusal(request: Callable[[], object]) -> TurnRefused | None:
    """The error answer; None for success."""
    try:
        request()
    except TurnRefused as refusal:
        return refusal
    return None


def _advertised(offer: TurnOffer) -> TurnUrl:
    """What Delta Chat clients use: UDP."""
    return TurnUrl("udp", offer.host, offer.port)


def _client(target: Target, host: Host, url: TurnUrl, credentials: TurnCredentials) -> TurnClient:
    tls = target.ssl_context() if url.transport == "tls" else None
    return TurnClient(host, url, credentials, tls=tls, within=WITHIN)


@contextmanager
def _two(target: Target, host: Host, url: TurnUrl, offer: TurnOffer) -> Iterator[tuple[Peer, Peer]]:
    """Two clients with allocations at the target's own address; nothing is sent to any other."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(allocated(_client(target, host, url, offer.credentials))) for _ in range(2)
        )
        for peer in (first, second):
            if not belongs_to(target, peer.relayed[0], host):
                raise PromiseBroken(
                    f"TURN tells clients the relayed address {written(peer.relayed)}, "
                    f"which is no address of {target.host} ({target.domain})"
                )
        yield first, second
