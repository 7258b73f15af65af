"""nginx in front of the iroh relay, with one line missing or one too many."""

from __future__ import annotations

from dataclasses import replace

from .declaration import CHATMAIL, COTURN, REFERENCE, fault
from .nginx import PROBES, RELAY, Front
from .site import Site

REACHED = "relay.relay_is_reachable"
ADMITS = "relay.relay_admits_a_client"
ANSWERS = "relay.relay_answers_http"
KEPT = "relay.relay_connection_survives_idle"
LOST = ("relay.proxy_drops_upgrade", "relay.proxy_http_1_0")
"""A relay that ignores `Upgrade` in HTTP/1.0 (RFC 9110, section 7.8), as ours does, answers 400 either way."""
EVERYWHERE = (REFERENCE, COTURN, CHATMAIL)


@fault(
    "nginx in front of the relay does not pass `Upgrade` on",
    cause=LOST,
    red={ADMITS: "400"},
    on=EVERYWHERE,
)
def proxy_drops_upgrade(site: Site) -> None:
    _change(
        site, '    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection "upgrade";\n', ""
    )


@fault(
    "nginx in front of the relay speaks HTTP/1.0 to it, since `proxy_http_version 1.1` is missing",
    cause=LOST,
    red={ADMITS: "the relay"},
    on=EVERYWHERE,
)
def proxy_speaks_http_1_0(site: Site) -> None:
    _change(site, "    proxy_http_version 1.1;\n", "")


@fault(
    "nginx in front of the relay passes neither /ping nor /generate_204 on",
    cause="relay.paths_missing",
    red={ANSWERS: "/generate_204"},
    on=(REFERENCE, COTURN),
)
def proxy_without_probes(site: Site) -> None:
    _change(site, PROBES, "")


@fault(
    "nginx in front of the relay speaks HTTP/2 alone",
    cause="relay.proxy_http2_only",
    red={REACHED: "does not answer in HTTP"},
    on=(REFERENCE, COTURN),
)
def proxy_speaks_http2_only(site: Site) -> None:
    site.relay_front = replace(site.relay_front or Front(), listen="http2")


@fault(
    "nginx in front of the relay ends connections on which nothing is said for three seconds",
    cause="relay.proxy_times_out",
    red={KEPT: "an idle client was not kept"},
    on=EVERYWHERE,
)
def proxy_times_out(site: Site) -> None:
    _change(
        site, "    proxy_http_version 1.1;\n", "    proxy_http_version 1.1;\n    proxy_read_timeout 3s;\n"
    )


@fault(
    "nginx passes /relay to a port at which nothing listens",
    cause="relay.upstream_dead",
    red={ADMITS: "502"},
    on=EVERYWHERE,
)
def proxy_leads_elsewhere(site: Site) -> None:
    _change(site, RELAY, RELAY.replace("UPSTREAM", f"{site.own}:9"))


@fault("nginx stands in front of the relay, as it should", on=(REFERENCE, COTURN))
def proxy_in_front(site: Site) -> None:
    site.relay_front = Front()


def _change(site: Site, part: str, by: str) -> None:
    """Of the configuration that is right."""
    front = site.relay_front or Front()
    head, found, tail = front.locations.partition(part)
    assert found, f"not in the configuration of nginx: {part}"
    site.relay_front = replace(front, locations=f"{head}{by}{tail}")
