"""The relay for nodes since iroh 0.91: `iroh-relay-v1` and `iroh-relay-v2`.

Our own client talks to it, and real nodes where the package `iroh` is installed.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..clients.relay.client import RelayError
from ..clients.relay.client_v1 import PROTOCOLS, RelayClientV1, RelayDenied
from ..clients.relay.frames_v1 import message_to_sign
from ..clients.relay.iroh_node import IrohNode, IrohNodeError, require_nodes
from ..hosts import MissingCapability
from ..report.observations import Measured, PathSeen
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.relay_exchange import WITHIN, OwnRelay, exchange
from ..target import Service
from ..urls import RelayUrl
from ..waiting import wait_until

__all__ = [
    "relay_v1_carries_real_nodes",
    "relay_v1_forwards_each_datagram_once",
    "relay_v1_refuses_bad_signatures",
    "relay_v1_same_key_rules",
]

NEEDS = ("iroh_relay", "relay_v1")
REACHABLE = ("relay.relay_is_reachable",)
NODE_WITHIN = 20.0
NODE_MESSAGES = 20
NODE_MESSAGE_SIZE = 20_000
"""Bytes: a message takes several datagrams, so that nodes send batches, too."""
RELAYED = PathSeen(
    "established",
    f"relayed({Service.IROH_RELAY})",
    "relayed",
    (Service.IROH_RELAY.value,),
    witnesses=("the nodes", "their network, which leads nowhere but to the relay"),
)


@check("IROH-1", "IROH-2", "IROH-11", needs=NEEDS, after=REACHABLE)
def relay_v1_forwards_each_datagram_once(stage: Stage, outcome: Outcome) -> None:
    """Endpoints exchange datagrams in both versions and between them; each arrives once, from the right key."""
    relay = OwnRelay.of(stage)
    both, oldest = PROTOCOLS, PROTOCOLS[1:]
    frames = 0
    for offers in ((both, both), (oldest, oldest), (oldest, both)):
        with (
            outcome.expect_to_arrive(RelayError, what=" and ".join(each[0] for each in offers)),
            relay.client_v1(offer=offers[0]) as first,
            relay.client_v1(offer=offers[1]) as second,
        ):
            for client, offer in zip((first, second), offers, strict=True):
                outcome.expect(
                    client.protocol == offer[0],
                    f"offered {', '.join(offer)}, the relay chose {client.protocol} and not the highest",
                )
            frames += exchange(stage, first, second)
    outcome.observe(Measured("sent each way", frames, "frames"))


@check("IROH-10", needs=NEEDS, after=REACHABLE)
def relay_v1_refuses_bad_signatures(stage: Stage, outcome: Outcome) -> None:
    """An answer to the relay's challenge that the key's owner did not sign is refused, and the refusal says why."""
    relay = OwnRelay.of(stage)
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    seen: list[bytes] = []

    def right(challenge: bytes) -> bytes:
        seen.append(challenge)
        return key.sign(message_to_sign(challenge))

    wrong = {
        "of another key": lambda challenge: other.sign(message_to_sign(challenge)),
        "over the challenge itself": key.sign,
        "for an older challenge": lambda _challenge: key.sign(message_to_sign(seen[0])),
    }
    with outcome.expect_to_arrive(RelayError):
        relay.client_v1(key=key, sign=right).close()
        for kind, sign in wrong.items():
            try:
                relay.client_v1(key=key, sign=sign).close()
            except RelayDenied:
                continue
            outcome.expect(False, f"the relay accepted a log-in with a bad signature ({kind})")
        relay.client_v1(key=key, sign=right).close()
        outcome.expect(len(set(seen)) == len(seen), "the relay gave the same challenge twice")


@check("IROH-1", needs=NEEDS, after=REACHABLE)
def relay_v1_same_key_rules(stage: Stage, outcome: Outcome) -> None:
    """Of two connections with one key the newer gets the datagrams; when it leaves, the older one gets them again."""
    relay = OwnRelay.of(stage)
    key = Ed25519PrivateKey.generate()
    with (
        outcome.expect_to_arrive(RelayError),
        relay.client_v1() as sender,
        relay.client_v1(key=key, offer=PROTOCOLS[1:]) as older,
    ):
        with relay.client_v1(key=key) as newer:
            _expect_newer_to_receive(outcome, sender, older, newer)
        with outcome.expect_to_arrive(what="the older connection was not told that it is active again"):
            wait_until(lambda: _told_active(older), "the relay's word", within=WITHIN)
        sender.send(older.node_id, b"for the older one")
        with outcome.expect_to_arrive(what="the older connection of a key did not get its datagrams back"):
            packet = older.receive(within=WITHIN)
            outcome.expect(
                packet.payload == b"for the older one", "the older connection got the newer one's datagram"
            )


def _expect_newer_to_receive(
    outcome: Outcome, sender: RelayClientV1, older: RelayClientV1, newer: RelayClientV1
) -> None:
    sender.send(newer.node_id, b"for the newer one")
    with outcome.expect_to_arrive(what="the newer connection of a key gets nothing"):
        newer.receive(within=WITHIN)
    older.ping(within=WITHIN)
    outcome.expect(not older.active, "the older connection of a key was not told about the newer one")
    older.send(sender.node_id, b"still here")
    with outcome.expect_to_arrive(what="the older connection of a key may not send any more"):
        sender.receive(within=WITHIN)


def _told_active(client: RelayClientV1) -> bool:
    """The relay's word comes before its answer to a ping that was sent later."""
    client.ping(within=WITHIN)
    return client.active


@check("IROH-1", "IROH-2", "IROH-5", needs=NEEDS, after=REACHABLE)
def relay_v1_carries_real_nodes(stage: Stage, outcome: Outcome) -> None:
    """Two real nodes that have no other way to each other exchange messages in both directions through the relay."""
    url = stage.own_relay()
    require_nodes(stage.host)
    if not _is_plain_address(url):
        raise MissingCapability(
            "iroh_node",
            f"no node trusts or resolves {url}",
            heal="let METADATA offer the relay as http:// and an IP address",
        )
    logs = stage.directory("iroh-nodes")
    with (
        outcome.expect_to_arrive(IrohNodeError, what=f"real iroh nodes do not work over {url}"),
        IrohNode(stage.host, url, logs / "first.log", within=NODE_WITHIN) as first,
        IrohNode(stage.host, url, logs / "second.log", within=NODE_WITHIN) as second,
    ):
        outcome.evidence += [logs / "first.log", logs / "second.log"]
        for sender, receiver in ((first, second), (second, first)):
            exchanged = sender.exchange(
                receiver.node_id, messages=NODE_MESSAGES, size=NODE_MESSAGE_SIZE, within=NODE_WITHIN
            )
            outcome.expect(
                exchanged.echoed == NODE_MESSAGES,
                f"{exchanged.echoed} of {NODE_MESSAGES} messages between real nodes came back unchanged",
            )
            outcome.expect(
                exchanged.paths and all(relayed for _address, relayed in exchanged.paths),
                f"the nodes should have no path but the relay, they name {exchanged.paths}",
            )
        outcome.observe(RELAYED)
        _compare_with_ledger(stage, first, second)


def _is_plain_address(url: RelayUrl) -> bool:
    """A caged node has no DNS, and trusts the public roots only."""
    with suppress(ValueError):
        ipaddress.ip_address(url.host)
        return not url.secure
    return False


def _compare_with_ledger(stage: Stage, first: IrohNode, second: IrohNode) -> None:
    """The nodes are caged, so every byte of a message has to be in the relay's account of them."""
    ledger = stage.ledger(Service.IROH_RELAY, otherwise="the nodes had no other way than the relay")
    if ledger is None:
        return
    total, least = 0, 2 * NODE_MESSAGES * NODE_MESSAGE_SIZE  # messages of its own, and echoes
    for sender, receiver in ((first, second), (second, first)):
        stage.outcome.expect(
            ledger.events_of("login", node_id=sender.node_id), f"the ledger has no log-in of {sender.node_id}"
        )
        carried = ledger.pair(sender.node_id, receiver.node_id).bytes
        stage.outcome.expect(
            carried >= least, f"the nodes exchanged {least} bytes, the relay's ledger has {carried} bytes"
        )
        total += carried
    stage.outcome.observe(Measured("relayed between the nodes", total, "bytes"))
