"""Egress of a device: every destination that it sent to or asked DNS for, against what its target offers.

The strong witness are the counters at the device's edge, which it cannot avoid. Where nobody counts (one host, no
namespaces) there is only what a client's log says, and `Egress.witness` says that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..clients.turn.ledger import NOTHING, Count
from .flows import EdgeCounts, Endpoint, Flow, PacketClass
from .parties import ObservedDevice, Parties

__all__ = ["COUNTERS", "LOG", "Contact", "DirectTraffic", "Egress", "Lookup", "of_edges", "of_log"]

COUNTERS = "counters at the edges"
LOG = "the client's own log, which says what it knew of and not what left the machine"
PORT_OF_DNS = 53


class DirectTraffic(StrEnum):
    """Traffic that devices may send to each other without a service between them."""

    NOTHING = "nothing"
    CONNECTIVITY_CHECKS = "connectivity checks"
    """Those of ICE (RFC 8445), and what ICMP says about them."""
    ALL = "all"


@dataclass(frozen=True)
class Contact:
    """Traffic that a device sent to one destination, and that was delivered to it from there. Bytes: see `flows`."""

    device: str
    protocol: str
    destination: Endpoint
    sent: Count
    delivered: Count

    def __str__(self) -> str:
        port = f" port {self.destination.port}" if self.destination.port else ""
        came = f"{self.delivered.packets} came back" if self.delivered.packets else "nothing came back"
        return (
            f"{self.device} sent {self.sent.packets} packets to {self.destination.address}{port} "
            f"over {self.protocol}; {came}"
        )


@dataclass(frozen=True)
class Lookup:
    """A name that a device asked DNS for."""

    device: str
    name: str

    def __str__(self) -> str:
        return f"{self.device} asked DNS for {self.name}"


@dataclass(frozen=True)
class Egress:
    """Contacts and DNS lookups of devices."""

    witness: str
    contacts: tuple[Contact, ...] = ()
    """All of them."""
    lookups: tuple[Lookup, ...] = ()
    foreign: tuple[str, ...] = ()
    """Sentences about what the target does not offer, and about devices at whose edges nobody counted."""

    def __bool__(self) -> bool:
        """They went nowhere else."""
        return not self.foreign

    def __str__(self) -> str:
        return "; ".join(self.foreign) or f"nothing but what the target offers, by {self.witness}"


def of_edges(
    edges: Mapping[str, EdgeCounts],
    parties: Parties,
    *,
    devices: DirectTraffic = DirectTraffic.NOTHING,
    lookups: Iterable[tuple[str, str]] = (),
    names: Iterable[str] = (),
) -> Egress:
    """Egress of the devices of `parties`; its services are what the target offers.

    `lookups`: who asked (an address) and for which name, as the lab's name server recorded it. `names`: those that may
    be asked for, with everything below them. `devices`: what they may have for each other.
    """
    contacts = [
        contact
        for device in parties.devices
        if device.name in edges
        for contact in _contacts(device.name, edges[device.name])
    ]
    asked = [_lookup(asker, name, parties) for asker, name in lookups]
    allowed = [_normal(name) for name in names]
    foreign = [
        f"nobody counted at the edge of {each.name}, which may have gone anywhere"
        for each in parties.devices
        if each.name not in edges
    ]
    foreign += [
        _sentence(contact, owner)
        for contact, kinds in contacts
        if not _is_offered(owner := parties.owner(contact.protocol, contact.destination), kinds, devices)
    ]
    foreign += [
        f"{each}, which the target does not name"
        for each in asked
        if not any(each.name == name or each.name.endswith(f".{name}") for name in allowed)
    ]
    return Egress(
        COUNTERS, tuple(contact for contact, _kinds in contacts), tuple(asked), tuple(dict.fromkeys(foreign))
    )


def of_log(device: str, hosts: Iterable[str], allowed: Iterable[str]) -> Egress:
    """The weaker evidence: names and addresses in a client's log."""
    known = {_normal(each) for each in allowed}
    strange = sorted({_normal(each) for each in hosts} - known)
    return Egress(
        LOG, foreign=tuple(f"{device} knows of {each}, which the target does not offer" for each in strange)
    )


def _contacts(device: str, edge: EdgeCounts) -> list[tuple[Contact, frozenset[PacketClass]]]:
    """By destination, with the classes of what was sent there."""
    sent = _by_remote(edge.tx.rows, outgoing=True)
    delivered = _by_remote(edge.rx.rows, outgoing=False)
    return [
        (
            Contact(device, protocol, remote, count, delivered.get((protocol, remote), (NOTHING,))[0]),
            kinds,
        )
        for (protocol, remote), (count, kinds) in sorted(sent.items(), key=lambda each: each[0])
    ]


Remotes = dict[tuple[str, Endpoint], tuple[Count, frozenset[PacketClass]]]


def _by_remote(rows: Mapping[Flow, Count], *, outgoing: bool) -> Remotes:
    found: Remotes = {}
    for flow, count in rows.items():
        remote = flow.destination if outgoing else flow.source
        if _is_somewhere(remote.address):
            key = flow.protocol, remote
            known, kinds = found.get(key, (NOTHING, frozenset()))
            found[key] = known + count, kinds | {flow.kind}
    return found


def _is_somewhere(address: str) -> bool:
    """Not on the link itself, such as router solicitations and groups of neighbours."""
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified)


def _is_offered(owner: object, kinds: frozenset[PacketClass], devices: DirectTraffic) -> bool:
    if not isinstance(owner, ObservedDevice):
        return owner is not None
    if devices is DirectTraffic.CONNECTIVITY_CHECKS:
        return kinds <= {PacketClass.STUN, PacketClass.DISCO, PacketClass.REST}
    return devices is DirectTraffic.ALL


def _sentence(contact: Contact, owner: object) -> str:
    if isinstance(owner, ObservedDevice):
        return f"{contact}: that is {owner.name}, who should not be reached directly"
    hint = ""
    if contact.destination.port == PORT_OF_DNS:
        hint = " (a name instead of an address, or a key that METADATA does not have)"
    return f"{contact}: the target does not offer that{hint}"


def _lookup(asker: str, name: str, parties: Parties) -> Lookup:
    device = parties.device_at(asker)
    return Lookup(device.name if device is not None else asker, _normal(name))


def _normal(name: str) -> str:
    return name.lower().rstrip(".")
