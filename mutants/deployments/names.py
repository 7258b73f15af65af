"""Names that lead nowhere, too late, elsewhere, or to an address at which nobody answers."""

from __future__ import annotations

from harness.network.names import Refusal
from harness.servers.server import Wants

from .declaration import CHATMAIL, COTURN, EVERY_LAYOUT, MADMAIL, REFERENCE, fault
from .site import NAME, RELAY_PORT, TURN_NAME, Site

RELAY_NAME = "relay.chat.example"
LEADS = "names.turn_host_leads_to_the_target"
GRANTS = "turn.turn_grants_an_allocation"
REACHED = "relay.relay_is_reachable"
MAIL = "mail.idle_reports_new_mail"
WHERE_METADATA_CAN = (REFERENCE, COTURN, MADMAIL)
NO_NAME = {LEADS: f"METADATA names {TURN_NAME}"}


def _offer_turn_at(site: Site, *addresses: str) -> None:
    site.names.set(TURN_NAME, *addresses)
    site.offer_turn(TURN_NAME)


def _offer_relay_at(site: Site, *addresses: str) -> None:
    site.names.set(RELAY_NAME, *addresses)
    site.offer_relay(f"http://{RELAY_NAME}:{RELAY_PORT}")


# TURN


@fault(
    "the name of the TURN server does not exist",
    cause="turn.name_does_not_resolve",
    red=NO_NAME,
    on=WHERE_METADATA_CAN,
)
def turn_name_does_not_exist(site: Site) -> None:
    site.offer_turn(TURN_NAME)


@fault(
    "the name server fails at the name of the TURN server",
    cause="turn.name_silent",
    red=NO_NAME,
    on=WHERE_METADATA_CAN,
)
def turn_name_fails(site: Site) -> None:
    _offer_turn_at(site, site.own)
    site.names.fail(TURN_NAME, Refusal.SERVFAIL)


@fault(
    "the name server says nothing of the TURN server",
    cause="turn.name_silent",
    red=NO_NAME,
    on=WHERE_METADATA_CAN,
)
def turn_name_is_silent(site: Site) -> None:
    _offer_turn_at(site, site.own)
    site.names.fail(TURN_NAME, Refusal.SILENCE)


@fault(
    "the name of the TURN server has an IPv6 address at which nobody answers",
    cause="turn.address_dead",
    red={GRANTS: "2a01:4f8"},
    on=WHERE_METADATA_CAN,
)
def turn_ipv6_dead(site: Site) -> None:
    site.drop(f"ip6 daddr {site.own6}")
    _offer_turn_at(site, site.own, site.own6)


@fault(
    "the first of two addresses of the TURN server is dead",
    cause="turn.address_dead",
    red={GRANTS: "5.9"},
    on=WHERE_METADATA_CAN,
)
def turn_first_address_dead(site: Site) -> None:
    site.drop(f"ip daddr {site.second}")
    _offer_turn_at(site, site.second, site.own)


@fault(
    "one of two addresses of the TURN server is somebody else's",
    cause="turn.address_foreign",
    red={LEADS: "somebody else's server"},
    on=WHERE_METADATA_CAN,
)
def turn_address_of_somebody_else(site: Site) -> None:
    _offer_turn_at(site, site.own, site.stranger.address)


@fault(
    "METADATA names the TURN server of somebody else",
    cause="turn.address_foreign",
    red={GRANTS: "the TURN server of somebody else"},
    on=WHERE_METADATA_CAN,
)
def turn_of_somebody_else(site: Site) -> None:
    site.offer_turn(site.stranger.address)


@fault(
    "the name of the TURN server is written with capitals and a dot at its end, as it may",
    on=WHERE_METADATA_CAN,
)
def turn_name_written_oddly(site: Site) -> None:
    site.names.set(TURN_NAME, site.own)
    site.offer_turn("Turn.Chat.Example.")
    if site.layout == COTURN:  # whose certificate has the name
        site.wants |= Wants(advertised_turns="Turn.Chat.Example.:5349")


# The iroh relay


@fault(
    "the name of the relay does not exist",
    cause="relay.name_does_not_resolve",
    red={REACHED: "nowhere"},
    on=WHERE_METADATA_CAN,
)
def relay_name_does_not_exist(site: Site) -> None:
    site.offer_relay(f"http://{RELAY_NAME}:{RELAY_PORT}")


@fault(
    "the name server says nothing of the relay",
    cause="relay.name_silent",
    red={REACHED: "nowhere"},
    on=WHERE_METADATA_CAN,
)
def relay_name_is_silent(site: Site) -> None:
    _offer_relay_at(site, site.own)
    site.names.fail(RELAY_NAME, Refusal.SILENCE)


@fault(
    "the name of the relay has an IPv6 address at which nobody answers",
    cause="relay.address_dead",
    red={REACHED: "2a01"},
    on=WHERE_METADATA_CAN,
)
def relay_ipv6_dead(site: Site) -> None:
    site.drop(f"ip6 daddr {site.own6}")
    _offer_relay_at(site, site.own, site.own6)


@fault(
    "the first of two addresses of the relay is dead",
    cause="relay.address_dead",
    red={REACHED: "5.9"},
    on=WHERE_METADATA_CAN,
)
def relay_first_address_dead(site: Site) -> None:
    site.drop(f"ip daddr {site.second}")
    _offer_relay_at(site, site.second, site.own)


@fault(
    "one of two addresses of the relay is somebody else's",
    cause="relay.address_foreign",
    red={REACHED: "the relay of somebody else"},
    on=WHERE_METADATA_CAN,
)
def relay_address_of_somebody_else(site: Site) -> None:
    _offer_relay_at(site, site.own, site.stranger.address)


# The server itself


@fault(
    "the server's name does not exist",
    cause="name.does_not_resolve",
    red={MAIL: "no IMAP at"},
    on=(REFERENCE, MADMAIL),
)
def name_does_not_exist(site: Site) -> None:
    site.names.fail(NAME, Refusal.NXDOMAIN)


@fault(
    "the name server says nothing of the server",
    cause="name.dns_silent",
    red={MAIL: "no IMAP at"},
    on=(REFERENCE, MADMAIL),
)
def name_is_silent(site: Site) -> None:
    site.names.fail(NAME, Refusal.SILENCE)


@fault(
    "the server's name has an IPv6 address at which nobody answers",
    cause="name.address_dead",
    red={"tls.certificates_are_trusted": "2a01"},
    on=EVERY_LAYOUT,
)
def ipv6_dead(site: Site) -> None:
    site.drop(f"ip6 daddr {site.own6}")
    site.names.set(NAME, site.own, site.own6)


@fault(
    "the first of two addresses of the server is dead",
    cause="name.address_dead",
    red={"tls.certificates_are_trusted": "5.9"},
    on=(REFERENCE, CHATMAIL),
)
def first_address_dead(site: Site) -> None:
    site.drop(f"ip daddr {site.second}")
    site.names.set(NAME, site.second, site.own)
