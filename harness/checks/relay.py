"""The relay that the target advertises really relays (iroh relay protocol, generation 0.35; `relay_v1` has the rest).

Our own client talks to it; no Delta Chat core is involved.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..clients.relay.client import RelayClient, RelayError, probe
from ..clients.relay.frames import signed_message
from ..clients.turn import stun
from ..errors import plain
from ..look.certificates import public_roots
from ..report.observations import Measured
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.addresses import expect_every_address_accepts
from ..steps.relay_exchange import WITHIN, OwnRelay, exchange
from ..waiting import WaitTimeout

__all__ = [
    "relay_admits_a_client",
    "relay_answers_http",
    "relay_connection_survives_idle",
    "relay_forwards_each_frame_once",
    "relay_is_reachable",
    "relay_refuses_bad_signatures",
]

STUN_WITHIN = 2.0
IDLE_ROUNDS = 3
PING_JITTER = 1 / 3
"""Largest delay of a ping beyond its interval, in intervals: upstream waits 15 s and up to 5 s more."""
PONG_TIMEOUT = 5.0
REACHABLE = ("relay.relay_is_reachable",)
ADMITS = (*REACHABLE, "relay.relay_admits_a_client")


@check("DISC-6", "IROH-1", "E2E-15", needs=("iroh_relay",))
def relay_is_reachable(stage: Stage, outcome: Outcome) -> None:
    """A client that trusts the target gets an HTTP answer at the advertised URL, and each address of it answers."""
    relay = OwnRelay.of(stage)
    with outcome.expect_to_arrive(RelayError):
        relay.get("/")
    if relay.url.secure:
        _expect_known_to_iroh(outcome, relay)
    where = relay.url.host, relay.url.port
    expect_every_address_accepts(outcome, stage.host, *where, cause="relay.address_dead")


def _expect_known_to_iroh(outcome: Outcome, relay: OwnRelay) -> None:
    """Its clients have CAs compiled in: none that a machine, or `--ca-file`, trusts besides counts for them."""
    with outcome.expect_to_arrive(RelayError, what="no client of Delta Chat accepts this relay"):
        probe(relay.host, relay.url, "/", tls=public_roots(), within=WITHIN)


@check("IROH-1", "DISC-6", "E2E-15", needs=("iroh_relay",), after=REACHABLE)
def relay_answers_http(stage: Stage, outcome: Outcome) -> None:
    """The advertised URL answers the HTTP probes that clients and monitoring use."""
    relay = OwnRelay.of(stage)
    with outcome.expect_to_arrive(RelayError):
        ping = relay.get("/ping").status
        if ping == 200 or "relay_v1" in stage.capabilities:
            outcome.expect(ping == 200, _unexpected(relay, "/ping", ping, 200))
        else:
            outcome.note(
                f"{_unexpected(relay, '/ping', ping, 200)}: nodes since iroh 0.91 ask for it, 0.35 does not"
            )
        if not relay.url.secure:  # a relay with TLS serves this one on its plain port only
            portal = relay.get("/generate_204").status
            outcome.expect(portal == 204, _unexpected(relay, "/generate_204", portal, 204))
    _look_for_stun(stage, relay)


def _unexpected(relay: OwnRelay, path: str, status: int, wanted: int) -> str:
    return f"GET {path} at the advertised relay {relay.url} answered {status} instead of {wanted}"


def _look_for_stun(stage: Stage, relay: OwnRelay) -> None:
    """No promise, but worth knowing: iroh 0.35 asks UDP 3478 of the relay's host before anything else."""
    answers = False
    try:
        stun.probe(stage.host, relay.url.host, within=STUN_WITHIN)
        answers = True
    except (WaitTimeout, stun.StunError, OSError) as error:
        stage.outcome.note(
            f"realtime starts 1 to 3 s later than it could: no STUN on {relay.url.host} ({plain(error)})"
        )
    stage.outcome.observe(Measured("STUN answers at the relay's host", answers))


@check("IROH-1", "IROH-2", "DISC-6", "E2E-15", needs=("iroh_relay",), after=REACHABLE)
def relay_admits_a_client(stage: Stage, outcome: Outcome) -> None:
    """A node ID that nobody has seen before logs in at the advertised URL, and its ping is answered."""
    with outcome.expect_to_arrive(RelayError), OwnRelay.of(stage).client() as client:
        client.ping(within=WITHIN)


@check("IROH-1", "IROH-2", "IROH-11", "DISC-6", "E2E-15", needs=("iroh_relay",), after=ADMITS)
def relay_forwards_each_frame_once(stage: Stage, outcome: Outcome) -> None:
    """Two node IDs that nobody has seen before exchange frames; each arrives once, unchanged, from the right key."""
    relay = OwnRelay.of(stage)
    with outcome.expect_to_arrive(RelayError), relay.client() as first, relay.client() as second:
        first.ping(within=WITHIN)
        second.ping(within=WITHIN)
        outcome.observe(Measured("sent each way", exchange(stage, first, second), "frames"))


@check("IROH-10", "E2E-15", needs=("iroh_relay",), after=ADMITS)
def relay_refuses_bad_signatures(stage: Stage, outcome: Outcome) -> None:
    """A log-in whose signature does not belong to its node ID is refused: nobody receives for somebody else."""
    relay = OwnRelay.of(stage)
    key = Ed25519PrivateKey.generate()
    right = key.sign(signed_message())
    wrong = {
        "of another key": Ed25519PrivateKey.generate().sign(signed_message()),
        "over another message": key.sign(b"\x04"),
        "with one bit changed": bytes([right[0] ^ 1]) + right[1:],
    }
    with outcome.expect_to_arrive(RelayError):
        for kind, signature in wrong.items():
            with relay.client(key=key, signature=signature) as client:
                outcome.expect(
                    not _admitted(client), f"the relay accepted a log-in with a bad signature ({kind})"
                )
        with relay.client(key=key) as client:
            outcome.expect(_admitted(client), "the relay refused the right signature after wrong ones")


def _admitted(client: RelayClient) -> bool:
    """A relay says nothing to a good log-in; it answers a ping, or it closes the connection."""
    try:
        client.ping(within=WITHIN)
    except RelayError:
        return False
    return True


@check("IROH-3", needs=("iroh_relay",), after=ADMITS)
def relay_connection_survives_idle(stage: Stage, outcome: Outcome) -> None:
    """A silent client is pinged and stays reachable; one that answers no ping is dropped."""
    relay = OwnRelay.of(stage)
    longest_silence = stage.target.relay_ping_interval * (1 + PING_JITTER)
    with (
        outcome.expect_to_arrive(RelayError),
        relay.client() as idle,
        relay.client(answer_pings=False) as mute,
    ):
        idle.ping(within=WITHIN)
        mute.ping(within=WITHIN)
        with outcome.expect_to_arrive(RelayError, what="an idle client was not kept"):
            idle.wait_pinged(IDLE_ROUNDS, within=IDLE_ROUNDS * longest_silence + WITHIN)
        with relay.client() as sender:
            sender.send(idle.node_id, b"are you still there?")
            with outcome.expect_to_arrive(RelayError, what="the relay forgot a client that was only idle"):
                idle.receive(within=WITHIN)
        with outcome.expect_to_arrive(what="a client that answers no ping stays connected"):
            mute.wait_closed(within=longest_silence + PONG_TIMEOUT + WITHIN)
        outcome.observe(Measured("pings of an idle client", idle.pings))
