"""Everything that a target offers to devices, as addresses and ports on the wire: described once, for all checks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ..calls.servers import TurnOffer
from ..evidence.parties import ObservedDevice, Parties, Site
from ..target import Service, Target
from ..urls import RelayUrl

__all__ = ["NAT_TRIAL", "QAD_PORT", "STUN_PORT", "Offers", "parties_of"]

HTTPS = 443
STUN_PORT = 3478
"""UDP, where iroh asks at the relay's address; without an answer it starts three seconds late."""
QAD_PORT = 7842
"""UDP, where iroh 0.35 asks the relay's host for its address as well; mostly nobody answers there."""
DNS_PORT = 53
NAT_TRIAL = Site("trial of the NAT", frozenset({"203.0.113.1"}), udp=frozenset({12345}))
"""iroh's net report sends one packet to an address for documentation, which nobody has, to open the NAT."""


@dataclass(frozen=True)
class Offers:
    """Services that METADATA offers and that are the target's own; None: it does not offer it."""

    relay: RelayUrl | None = None
    turn: TurnOffer | None = None
    turns: TurnOffer | None = None


def parties_of(
    devices: tuple[ObservedDevice, ...],
    carrier: Service,
    target: Target,
    offers: Offers,
    *,
    addresses: frozenset[str],
    name_servers: Collection[str],
) -> Parties:
    """Parties on the wire. `carrier`: the service that may carry what one device has for another; in a call that is
    TURN, for realtime data the iroh relay. `addresses`: all that the server has; `name_servers`: the lab's."""
    sites = (*_sites(target, offers, addresses), (None, _name_server(name_servers)), (None, NAT_TRIAL))
    relays = tuple(site for service, site in sites if service is carrier)
    return Parties(devices, relays, tuple(site for service, site in sites if service is not carrier))


def _sites(target: Target, offers: Offers, own: frozenset[str]) -> Iterator[tuple[Service | None, Site]]:
    """Several sites may share an address; of two that fit, the first is meant."""
    mail = frozenset({target.imaps, target.imap, target.submissions, target.submission, target.https})
    if offers.relay is not None:
        relay = offers.relay
        at = own if relay.host not in own else frozenset({relay.host})
        yield Service.IROH_RELAY, Site(Service.IROH_RELAY, at, frozenset({relay.port}))
    if offers.turns is not None and offers.turns.host in own:
        yield Service.TURN, Site(Service.TURN, frozenset({offers.turns.host}), frozenset({offers.turns.port}))
    if offers.turn is not None:
        streams = frozenset({offers.turn.port, *(url.port for url in target.turn if url.transport != "udp")})
        # Which ports relayed transport addresses have is not known beforehand, so all of UDP is TURN's.
        yield Service.TURN, Site(Service.TURN, own, streams, None)
    yield None, Site("mail", own, mail | {HTTPS})
    yield None, Site("address discovery", own, udp=frozenset({STUN_PORT, QAD_PORT}))


def _name_server(addresses: Collection[str]) -> Site:
    return Site("name server", frozenset(addresses), udp=frozenset({DNS_PORT}), tcp=frozenset({DNS_PORT}))
