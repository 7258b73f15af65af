"""The relay that the target advertises really relays (iroh relay protocol, generation 0.35; relay_v1.py has the rest).

Our own client talks to it; no Delta Chat core is involved.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..clients.relay.client import Packet, RelayClient, RelayError, probe
from ..clients.relay.frames import signed_message
from ..clients.turn import stun
from ..hosts import Host
from ..steps.outcome import Outcome, check, current_outcome, relay_ledger
from ..target import Target
from ..urls import RelayUrl
from ..waiting import WaitTimeout
from .discovery import offered

__all__ = [
    "compare_with_ledger",
    "relay_answers_http",
    "relay_connection_survives_idle",
    "relay_forwards_each_frame_once",
    "relay_refuses_bad_signatures",
    "send_one_direction",
    "tls_for",
]

PAYLOAD_SIZES = (1, 38, 1200, 1201, 14_000, 65_000)
"""Bytes: the smallest, one as short as a disco header, two of a datagram's size, a batch, nearly the largest."""
ROUNDS = 4
END = b"end of this direction"
WITHIN = 10.0
STUN_WITHIN = 2.0
IDLE_ROUNDS = 3
PING_JITTER = 1 / 3
"""How much later than its interval a relay may ping, in intervals: upstream waits 15 s and up to 5 s more."""
PONG_TIMEOUT = 5.0


@check("IROH-1", "DISC-6", needs=("iroh_relay",))
def relay_answers_http(target: Target, host: Host) -> Outcome:
    """The advertised URL answers the HTTP probes that clients and monitoring use."""
    url = offered(target, host).iroh_relay
    tls = tls_for(target, url)
    outcome = current_outcome()
    wanted = {"/ping": 200}
    if not url.secure:
        wanted["/generate_204"] = 204  # a relay with TLS serves this one on its plain port only
    with outcome.expect_to_arrive(RelayError):
        for path, status in wanted.items():
            answer = probe(host, url, path, tls=tls, within=WITHIN)
            outcome.expect(
                answer.status == status,
                f"GET {path} at the advertised relay {url} answered {answer.status} instead of {status}",
            )
    return _ask_for_stun(outcome, host, url)


def _ask_for_stun(outcome: Outcome, host: Host, url: RelayUrl) -> Outcome:
    """No promise, but worth knowing: iroh 0.35 asks UDP 3478 of the relay's host before anything else."""
    try:
        stun.probe(host, url.host, within=STUN_WITHIN)
    except (WaitTimeout, stun.StunError, OSError) as error:
        outcome.measurements["stun"] = False
        return outcome.note(f"realtime starts 1 to 3 s later than it could: no STUN on {url.host} ({error})")
    outcome.measurements["stun"] = True
    return outcome


@check("IROH-1", "IROH-2", "IROH-11", "DISC-6", needs=("iroh_relay",))
def relay_forwards_each_frame_once(target: Target, host: Host) -> Outcome:
    """Two node IDs that nobody has seen before exchange frames; each arrives once, unchanged, from the right key."""
    url = offered(target, host).iroh_relay
    tls = tls_for(target, url)
    outcome = current_outcome()
    with (
        outcome.expect_to_arrive(RelayError),
        RelayClient(host, url, tls=tls, within=WITHIN) as first,
        RelayClient(host, url, tls=tls, within=WITHIN) as second,
    ):
        first.ping(within=WITHIN)
        second.ping(within=WITHIN)
        for sender, receiver in ((first, second), (second, first)):
            send_one_direction(outcome, sender, receiver)
        compare_with_ledger(outcome, target, first, second)
    return outcome


def _payloads() -> list[bytes]:
    """What is sent in each direction: every payload different from every other."""
    return [
        number.to_bytes(1, "big") + bytes((number + position) % 251 for position in range(size - 1))
        for number, size in enumerate(PAYLOAD_SIZES * ROUNDS)
    ]


def send_one_direction(outcome: Outcome, sender: RelayClient, receiver: RelayClient) -> None:
    """Send packets of every size, and judge what arrives."""
    sent = _payloads()
    for payload in [*sent, END]:
        sender.send(receiver.node_id, payload)
    try:
        arrived = receiver.receive_until(END, within=WITHIN)[:-1]
    except WaitTimeout:
        outcome.expect(False, f"of {len(sent)} frames that one node sent to another, the last never arrived")
        return
    outcome.expect(not (fault := _fault(sent, arrived, sender.node_id)), fault)


def _fault(sent: Sequence[bytes], arrived: Sequence[Packet], source: str) -> str:
    """What is wrong with what arrived; empty when it is what was sent."""
    payloads = [packet.payload for packet in arrived]
    if any(packet.source != source for packet in arrived):
        return "the relay forwarded a frame with another source key than the sender's"
    if missing := [payload for payload in sent if payload not in payloads]:
        return f"{len(missing)} of {len(sent)} frames were lost or changed; the first had {len(missing[0])} bytes"
    if extra := len(payloads) - len(sent):
        return f"{extra} of {len(sent)} frames were delivered twice"
    return "" if payloads == sent else "frames of one sender arrived out of order"


def compare_with_ledger(outcome: Outcome, target: Target, first: RelayClient, second: RelayClient) -> None:
    """Both clients have sent what `send_one_direction` sends: the ledger has to say the same."""
    ledger = relay_ledger(outcome, target, otherwise="only our own two clients were counted")
    if ledger is None:
        return
    frames = len(_payloads()) + 1
    size = sum(map(len, _payloads())) + len(END)
    for sender, receiver in ((first, second), (second, first)):
        pair = ledger.pair(sender.node_id, receiver.node_id)
        outcome.expect(
            (pair.frames, pair.bytes) == (frames, size),
            f"the relay's ledger says {pair.frames} frames and {pair.bytes} bytes for one direction, "
            f"the clients sent {frames} frames and {size} bytes",
        )
    outcome.measurements["frames_each_way"] = frames


@check("IROH-10", needs=("iroh_relay",))
def relay_refuses_bad_signatures(target: Target, host: Host) -> Outcome:
    """A log-in whose signature does not belong to its node ID is refused: nobody receives for somebody else."""
    url = offered(target, host).iroh_relay
    tls = tls_for(target, url)
    outcome = current_outcome()
    key = Ed25519PrivateKey.generate()
    right = key.sign(signed_message())
    wrong = {
        "of another key": Ed25519PrivateKey.generate().sign(signed_message()),
        "over another message": key.sign(b"\x04"),
        "with one bit changed": bytes([right[0] ^ 1]) + right[1:],
    }
    with outcome.expect_to_arrive(RelayError):
        for kind, signature in wrong.items():
            with RelayClient(host, url, key=key, signature=signature, tls=tls, within=WITHIN) as client:
                outcome.expect(
                    not _lets_in(client), f"the relay accepted a log-in with a bad signature ({kind})"
                )
        with RelayClient(host, url, key=key, tls=tls, within=WITHIN) as client:
            outcome.expect(_lets_in(client), "the relay refused the right signature after wrong ones")
    return outcome


def _lets_in(client: RelayClient) -> bool:
    """A relay says nothing to a good log-in; it answers a ping, or it closes the connection."""
    try:
        client.ping(within=WITHIN)
    except RelayError:
        return False
    return True


@check("IROH-3", needs=("iroh_relay",))
def relay_connection_survives_idle(target: Target, host: Host) -> Outcome:
    """A silent client is pinged and stays reachable; one that answers no ping is dropped."""
    url = offered(target, host).iroh_relay
    tls = tls_for(target, url)
    outcome = current_outcome()
    longest_silence = target.relay_ping_interval * (1 + PING_JITTER)
    with (
        outcome.expect_to_arrive(RelayError),
        RelayClient(host, url, tls=tls, within=WITHIN) as idle,
        RelayClient(host, url, answer_pings=False, tls=tls, within=WITHIN) as mute,
    ):
        idle.ping(within=WITHIN)
        mute.ping(within=WITHIN)
        with outcome.expect_to_arrive(RelayError, what="an idle client was not kept"):
            idle.wait_pinged(IDLE_ROUNDS, within=IDLE_ROUNDS * longest_silence + WITHIN)
        with RelayClient(host, url, tls=tls, within=WITHIN) as sender:
            sender.send(idle.node_id, b"are you still there?")
            with outcome.expect_to_arrive(RelayError, what="the relay forgot a client that was only idle"):
                idle.receive(within=WITHIN)
        with outcome.expect_to_arrive(what="a client that answers no ping stays connected"):
            mute.wait_closed(within=longest_silence + PONG_TIMEOUT + WITHIN)
    outcome.measurements["ping_rounds"] = idle.pings
    return outcome


def tls_for(target: Target, url: RelayUrl) -> ssl.SSLContext | None:
    """TLS settings that verify this target's relay, if it has TLS."""
    return target.ssl_context() if url.secure else None
