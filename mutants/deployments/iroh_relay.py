"""Iroh relays that are dead, somebody else's, of another generation, or behind a certificate that clients refuse."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from harness.hosts import MissingCapability
from harness.servers.server import RunningServer
from harness.target import Service

from . import fronts
from .certificates import Issued
from .declaration import CHATMAIL, COTURN, EVERY_LAYOUT, MADMAIL, REFERENCE, fault
from .nginx import ELSE_NOT_FOUND, Front
from .site import NAME, RELAY_PORT, Site

REACHED = "relay.relay_is_reachable"
ADMITS = "relay.relay_admits_a_client"
FORWARDS = "relay.relay_forwards_each_frame_once"
RELAY_NAME = "relay.chat.example"
NEWER = "IROH_RELAY_1_BIN"
"""Names a binary of version 1."""


def _kill_relay(server: RunningServer) -> None:
    server.program(Service.IROH_RELAY).kill()


@fault(
    "the relay has died, and METADATA goes on to offer it",
    cause="relay.port_closed",
    red={REACHED: "connection refused"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_dead(site: Site) -> None:
    site.later(_kill_relay)


@fault(
    "the relay behind nginx has died",
    cause="relay.upstream_dead",
    red={ADMITS: "502"},
    on=(CHATMAIL,),
)
def upstream_dead(site: Site) -> None:
    site.later(_kill_relay)


@fault(
    "the relay stands still: it accepts connections, and says nothing",
    cause="relay.does_not_forward",
    red={REACHED: "for an HTTP answer"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_stands_still(site: Site) -> None:
    site.later(lambda server: server.program(Service.IROH_RELAY).pause())


@fault(
    "METADATA names the relay of somebody else",
    cause="relay.address_foreign",
    red={REACHED: "the relay of somebody else"},
    on=(REFERENCE, COTURN, MADMAIL, CHATMAIL),
)
def relay_of_somebody_else(site: Site) -> None:
    site.names.set(RELAY_NAME, site.stranger.address)
    _offer_again(site, f"http://{RELAY_NAME}:{RELAY_PORT}")


@fault(
    "METADATA has https:// for a relay that speaks plain HTTP",
    cause="relay.scheme_wrong",
    red={REACHED: "TLS"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def https_for_a_plain_relay(site: Site) -> None:
    site.offer_relay(f"https://{NAME}:{RELAY_PORT}")


@fault(
    "METADATA has http:// for a relay behind TLS",
    cause="relay.scheme_wrong",
    red={ADMITS: "400"},
    on=(CHATMAIL,),
)
def http_for_a_relay_with_tls(site: Site) -> None:
    _offer_again(site, f"http://{NAME}:443")


@fault(
    "METADATA names the web server, behind which there is no relay",
    cause="relay.no_relay_there",
    red={ADMITS: "404"},
    on=(REFERENCE, COTURN),
)
def web_server_in_place_of_the_relay(site: Site) -> None:
    site.relay_front = Front(ELSE_NOT_FOUND)


@fault(
    "the relay is of version 1.x, which lets in no client of Delta Chat",
    cause="relay.generation_too_new",
    red={ADMITS: "does not speak the generation"},
    on=(COTURN,),
)
def relay_of_another_generation(site: Site) -> None:
    if not (path := os.environ.get(NEWER)):
        raise MissingCapability(
            "iroh-relay 1.x", "no binary of it is known, and no package has it", heal=f"{NEWER}=PATH"
        )
    site.relay_binary = Path(path).absolute()


@fault(
    "something in front of the relay ends connections that carry more than a few kilobytes",
    cause="relay.limits_size",
    red={FORWARDS: "the relay"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def connections_limited_in_size(site: Site) -> None:
    talk = fronts.cuts_after(4096, site.machine, (site.own, RELAY_PORT))
    site.put_front(RELAY_PORT, talk)


@fault(
    "the relay takes frames, and half of its clients receive nothing",
    cause="relay.does_not_forward",
    red={FORWARDS: "never arrived"},
    on=(REFERENCE,),
)
def frames_not_forwarded(site: Site) -> None:
    site.mutate("relay_drops_frames_to_second_client")


@fault(
    "the relay admits nodes, and forwards no more than the first frames to each",
    cause="relay.does_not_forward",
    red={FORWARDS: "never arrived"},
    on=(REFERENCE,),
    swarm=True,
)
def later_frames_not_forwarded(site: Site) -> None:
    site.mutate("relay_forwards_first_frames")


@fault("nothing is wrong, and nodes talk through the relay for a while", on=EVERY_LAYOUT, swarm=True)
def nodes_that_talk(_site: Site) -> None:
    """Leave the site as it is."""


@fault(
    "the relay swallows frames of more than a kilobyte",
    cause="relay.limits_size",
    red={FORWARDS: "frames were lost or changed; the first had 1200"},
    on=(REFERENCE,),
)
def large_frames_swallowed(site: Site) -> None:
    site.mutate("relay_drops_large_frames")


@fault(
    "the relay has a certificate of a CA of the operator's own, which no Delta Chat client knows",
    cause="relay.certificate_untrusted",
    red={REACHED: "not trusted"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_certificate_untrusted(site: Site) -> None:
    _put_behind_tls(site, site.private.issue(RELAY_NAME))


@fault(
    "the relay has a certificate of a CA that the operator's machines trust, and that no iroh has compiled in",
    cause="relay.certificate_untrusted",
    red={REACHED: "not trusted"},
    on=(REFERENCE, COTURN, CHATMAIL),
)
def relay_certificate_of_the_operators_ca(site: Site) -> None:
    site.compiled_in = False
    if site.layout != CHATMAIL:
        _put_behind_tls(site, site.authority.issue(RELAY_NAME))


@fault(
    "the certificate of the relay has expired",
    cause="relay.certificate_expired",
    red={REACHED: "expired"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_certificate_expired(site: Site) -> None:
    _put_behind_tls(site, site.authority.issue(RELAY_NAME, days=(-20, -1)))


@fault(
    "the certificate of the relay is for another name",
    cause="relay.certificate_wrong_name",
    red={REACHED: "not trusted"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def relay_certificate_of_another_name(site: Site) -> None:
    _put_behind_tls(site, site.authority.issue("relay.elsewhere.example"))


@fault("the relay has TLS at a name of its own, as it should", on=(REFERENCE, COTURN, MADMAIL))
def relay_with_tls(site: Site) -> None:
    _put_behind_tls(site, site.authority.issue(RELAY_NAME))


@fault("the relay is at a further address of the operator, who says so, as it may be", on=(REFERENCE, COTURN))
def relay_at_a_further_address(site: Site) -> None:
    site.serve_at_second()
    site.names.set(RELAY_NAME, site.second)
    site.offer_relay(f"http://{RELAY_NAME}:{RELAY_PORT}")


def _put_behind_tls(site: Site, certificate: Issued) -> None:
    site.names.set(RELAY_NAME, site.own)
    site.offer_relay(f"https://{RELAY_NAME}:{RELAY_PORT}")
    site.relay_front = Front(certificate=certificate)


def _offer_again(site: Site, url: str) -> None:
    """In place of what the layout offers."""
    site.wants = replace(site.wants, advertised_relay=url)
