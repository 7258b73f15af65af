"""Firewalls, containers and NATs between the server and the world."""

from __future__ import annotations

from .declaration import CHATMAIL, COTURN, MADMAIL, REFERENCE, fault
from .site import Site

RELAYED = "turn_from_outside.relayed_address_answers_a_plain_peer"
GRANTS = "turn.turn_grants_an_allocation"
REACHED = "relay.relay_is_reachable"
INNER = "10.0.0.5"


@fault(
    "a firewall in front of the server drops UDP to the ports of relayed addresses",
    cause="turn.relay_ports_closed",
    red={RELAYED: "do not answer from outside"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_ports_closed(site: Site) -> None:
    site.drop("udp dport 49152-65535")


@fault(
    "a container publishes UDP 3478 and not the ports of relayed addresses",
    cause="turn.relay_ports_closed",
    red={RELAYED: "do not answer from outside"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_ports_not_published(site: Site) -> None:
    site.refuse("udp dport 49152-65535")


@fault(
    "a firewall drops UDP 3478",
    cause="turn.udp_filtered",
    red={GRANTS: "for an answer from turn:"},
    on=(REFERENCE, COTURN),
)
def turn_udp_filtered(site: Site) -> None:
    site.drop("udp dport 3478")


@fault(
    "a firewall drops UDP 3478, and TURN has no TCP that would tell a firewall from a dead server",
    cause=("turn.udp_filtered", "turn.not_answering"),
    red={GRANTS: "for an answer from turn:"},
    on=(MADMAIL,),
)
def turn_udp_filtered_without_tcp(site: Site) -> None:
    site.drop("udp dport 3478")


@fault(
    "a firewall drops all of UDP but for DNS",
    cause="turn.udp_filtered",
    red={GRANTS: "for an answer from turn:"},
    on=(REFERENCE, COTURN),
)
def all_udp_filtered(site: Site) -> None:
    site.drop("udp sport != 53 udp dport != 53")


@fault(
    "a container does not publish the relay's port, which answers on the server itself",
    cause="relay.port_closed",
    red={REACHED: "connection refused"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_port_not_published(site: Site) -> None:
    site.refuse("tcp dport 3340")


@fault(
    "a firewall drops TCP to the relay's port",
    cause="relay.port_filtered",
    red={REACHED: "nothing answered in time"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_port_filtered(site: Site) -> None:
    site.drop("tcp dport 3340")


@fault(
    "TURN behind a 1:1 NAT tells clients its inner address",
    cause="turn.relayed_address_private",
    red={"turn.turn_grants_an_allocation": INNER},
    on=(REFERENCE, COTURN, MADMAIL),
)
def turn_tells_its_inner_address(site: Site) -> None:
    site.put_behind_nat(INNER)
    site.offer_turn(site.own)
    site.offer_relay(f"http://{site.own}:3340")


@fault(
    "nothing listens at the port of IMAP",
    cause="mail.port_closed",
    red={"mail.idle_reports_new_mail": "no IMAP at"},
    on=(REFERENCE, COTURN, MADMAIL, CHATMAIL),
)
def imap_port_closed(site: Site) -> None:
    site.refuse("tcp dport 993")


@fault(
    "a firewall drops TCP 993",
    cause="mail.port_filtered",
    red={"discovery.metadata_offers_a_relay": "no IMAP at"},
    on=(REFERENCE, MADMAIL),
)
def imap_port_filtered(site: Site) -> None:
    site.drop("tcp dport 993")


@fault(
    "nothing listens at the ports of submission",
    cause="mail.port_closed",
    red={"mail.idle_reports_new_mail": "465"},
    on=(REFERENCE, MADMAIL),
)
def submission_port_closed(site: Site) -> None:
    site.refuse("tcp dport { 465, 587 }")
