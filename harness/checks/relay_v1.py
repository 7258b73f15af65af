"""The relay for nodes since iroh 0.91: `iroh-relay-v1` and `iroh-relay-v2`.

Our own client talks to it, and real nodes where the package `iroh` is installed.
"""

from __future__ import annotations

import ipaddress
import tempfile
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..clients.relay.client import RelayError, RelayUrl
from ..clients.relay.client_v1 import PROTOCOLS, RelayClientV1, RelayDenied
from ..clients.relay.frames_v1 import message_to_sign
from ..clients.relay.iroh_node import IrohNode, IrohNodeError, require_nodes
from ..hosts import Host, MissingCapability
from ..steps.outcome import Outcome, check, current_outcome
from ..target import Target
from ..waiting import wait_until
from .discovery import offered
from .relay import WITHIN, compare_with_ledger, send_one_direction, tls_for

__all__ = [
    "relay_v1_carries_real_nodes",
    "relay_v1_forwards_each_datagram_once",
    "relay_v1_refuses_bad_signatures",
    "relay_v1_same_key_rules",
]

NEEDS = ("iroh_relay", "relay_v1")
NODE_WITHIN = 20.0
NODE_MESSAGES = 20
NODE_MESSAGE_SIZE = 20_000
"""Bytes: a message takes several datagrams, so that nodes send batches, too."""


@check("IROH-1", "IROH-2", "IROH-11", needs=NEEDS)
def relay_v1_forwards_each_datagram_once(target: Target, host: Host) -> Outcome:
    """Endpoints exchange datagrams in both versions and between them; each arrives once, from the right key."""
    url = offered(target, host).iroh_relay
    tls = tls_for(target, url)
    outcome = current_outcome()
    for offers in ((PROTOCOLS, PROTOCOLS), (PROTOCOLS[1:], PROTOCOLS[1:]), (PROTOCOLS[1:], PROTOCOLS)):
        with (
            outcome.expect_to_arrive(RelayError, what=" and ".join(each[0] for each in offers)),
            RelayClientV1(host, url, offer=offers[0], tls=tls, within=WITHIN) as first,
            RelayClientV1(host, url, offer=offers[1], tls=tls, within=WITHIN) as second,
        ):
            for client, offer in zip((first, second), offers, strict=True):
                outcome.expect(
                    client.protocol == offer[0],
                    f"offered {', '.join(offer)}, the relay chose {client.protocol} and not the highest",
                )
            for sender, receiver in ((first, second), (second, first)):
                send_one_direction(outcome, sender, receiver)
            compare_with_ledger(outcome, target, first, second)
    return outcome


@check("IROH-10", needs=NEEDS)
def relay_v1_refuses_bad_signatures(target: Target, host: Host) -> Outcome:
    """An answer to the relay's challenge that the key's owner did not sign is refused, and the refusal says why."""
    url = offered(target, host).iroh_relay
    tls = tls_for(target, url)
    outcome = current_outcome()
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
        RelayClientV1(host, url, key=key, sign=right, tls=tls, within=WITHIN).close()
        for kind, sign in wrong.items():
            try:
                RelayClientV1(host, url, key=key, sign=sign, tls=tls, within=WITHIN).close()
            except RelayDenied:
                continue
            outcome.expect(False, f"the relay accepted a log-in with a bad signature ({kind})")
        RelayClientV1(host, url, key=key, sign=right, tls=tls, within=WITHIN).close()
        outcome.expect(len(set(seen)) == len(seen), "the relay gave the same challenge twice")
    return outcome


@check("IROH-1", needs=NEEDS)
def relay_v1_same_key_rules(target: Target, host: Host) -> Outcome:
    """Of two connections with one key the newer gets the datagrams; when it leaves, the older one gets them again."""
    url = offered(target, host).iroh_relay
    tls = tls_for(target, url)
    outcome = current_outcome()
    key = Ed25519PrivateKey.generate()
    with (
        outcome.expect_to_arrive(RelayError),
        RelayClientV1(host, url, tls=tls, within=WITHIN) as sender,
        RelayClientV1(host, url, key=key, offer=PROTOCOLS[1:], tls=tls, within=WITHIN) as older,
    ):
        with RelayClientV1(host, url, key=key, tls=tls, within=WITHIN) as newer:
            sender.send(key.public_key().public_bytes_raw().hex(), b"for the newer one")
            with outcome.expect_to_arrive(what="the newer connection of a key gets nothing"):
                newer.receive(within=WITHIN)
            older.ping(within=WITHIN)
            outcome.expect(not older.active, "the older connection of a key was not told about the newer one")
            older.send(sender.node_id, b"still here")
            with outcome.expect_to_arrive(what="the older connection of a key may not send any more"):
                sender.receive(within=WITHIN)
        with outcome.expect_to_arrive(what="the older connection was not told that it is active again"):
            wait_until(lambda: _told_active(older), "the relay's word", within=WITHIN)
        sender.send(older.node_id, b"for the older one")
        with outcome.expect_to_arrive(what="the older connection of a key did not get its datagrams back"):
            packet = older.receive(within=WITHIN)
            outcome.expect(
                packet.payload == b"for the older one", "the older connection got the newer one's datagram"
            )
    return outcome


def _told_active(client: RelayClientV1) -> bool:
    """The relay's word comes before its answer to a ping that was sent later."""
    client.ping(within=WITHIN)
    return client.active


@check("IROH-1", "IROH-2", "IROH-5", needs=NEEDS)
def relay_v1_carries_real_nodes(target: Target, host: Host) -> Outcome:
    """Two real nodes that have no other way to each other exchange messages in both directions through the relay."""
    url = offered(target, host).iroh_relay
    require_nodes(host)
    if not _is_plain_address(url):
        raise MissingCapability(
            "iroh_node",
            f"no node trusts or resolves {url}",
            heal="let METADATA offer the relay as http:// and an IP address",
        )
    outcome = current_outcome()
    with (
        tempfile.TemporaryDirectory(prefix="dc-harness-iroh-") as logs,
        outcome.expect_to_arrive(IrohNodeError, what=f"real iroh nodes do not work over {url}"),
        IrohNode(host, url, Path(logs, "first.log"), within=NODE_WITHIN) as first,
        IrohNode(host, url, Path(logs, "second.log"), within=NODE_WITHIN) as second,
    ):
        for sender, receiver in ((first, second), (second, first)):
            exchange = sender.exchange(
                receiver.node_id, messages=NODE_MESSAGES, size=NODE_MESSAGE_SIZE, within=NODE_WITHIN
            )
            outcome.expect(
                exchange.echoed == NODE_MESSAGES,
                f"{exchange.echoed} of {NODE_MESSAGES} messages between real nodes came back unchanged",
            )
            outcome.expect(
                exchange.paths and all(relayed for _address, relayed in exchange.paths),
                f"the nodes should have no path but the relay, they name {exchange.paths}",
            )
        _ask_ledger(outcome, target, first, second)
    return outcome


def _is_plain_address(url: RelayUrl) -> bool:
    """A caged node has no DNS, and trusts the public roots only."""
    with suppress(ValueError):
        ipaddress.ip_address(url.host)
        return not url.secure
    return False


def _ask_ledger(outcome: Outcome, target: Target, first: IrohNode, second: IrohNode) -> None:
    """The nodes are caged, so every byte of a message has to be in the relay's account of them."""
    outcome.paths["established"] = f"relayed({target.name})"
    if target.control is None:
        outcome.note("the target keeps no ledger: the nodes had no other way than the relay")
        return
    ledger = target.control.ledger().iroh_relay
    least = 2 * NODE_MESSAGES * NODE_MESSAGE_SIZE  # messages of its own, and echoes
    for sender, receiver in ((first, second), (second, first)):
        outcome.expect(
            ledger.events_of("login", node_id=sender.node_id), f"the ledger has no log-in of {sender.node_id}"
        )
        carried = ledger.pair(sender.node_id, receiver.node_id).bytes
        outcome.expect(
            carried >= least, f"the nodes exchanged {least} bytes, the relay's ledger has {carried} bytes"
        )
        outcome.measurements.setdefault("relayed_bytes", []).append(carried)
