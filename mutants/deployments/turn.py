"""TURN servers that are dead, were told something else than mail, or tell clients something wrong."""

from __future__ import annotations

from harness.servers.server import RunningServer, Wants
from harness.target import Service

from .certificates import Issued
from .declaration import CHATMAIL, COTURN, MADMAIL, REFERENCE, fault
from .site import TURN_NAME, TURN_PORT, Site

GRANTS = "turn.turn_grants_an_allocation"
ALLOCATES = "turn.turn_allocates_with_offered_credentials"
OFFERED = "turn.turn_is_offered"
TURNS = "turn.turns_is_offered"
REFUSED = "refuses Allocate with 401"
EXPIRED = ("turn.clock_wrong", "turn.credentials_expired")
"""The first where an HTTP answer of the server shows its clock; else nobody outside knows why they have expired."""
WITH_COTURN = (COTURN, CHATMAIL)
OTHER_PORT = 3479
LITERAL = "north"
"""In the source of chatmail-turn, and in examples of coturn."""


def _kill_turn(server: RunningServer) -> None:
    server.program(Service.TURN).kill()


@fault(
    "TURN has died, and METADATA goes on to offer it",
    cause=("turn.not_answering", "turn.udp_filtered"),
    red={GRANTS: "turn:"},
    on=(REFERENCE, COTURN),
)
def turn_dead(site: Site) -> None:
    site.later(_kill_turn)


@fault(
    "METADATA names a port of TURN at which nothing listens",
    cause="turn.not_answering",
    red={GRANTS: "nothing listens on turn:"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def turn_port_wrong(site: Site) -> None:
    site.offer_turn(site.own, OTHER_PORT)


@fault(
    "TURN stands still: it has its port, and says nothing",
    cause=("turn.not_answering", "turn.udp_filtered"),
    red={GRANTS: "for an answer from turn:"},
    on=(REFERENCE, COTURN),
)
def turn_stands_still(site: Site) -> None:
    site.later(lambda server: server.program(Service.TURN).pause())


@fault(
    "mail and TURN do not share a secret",
    cause="turn.secret_differs",
    red={GRANTS: REFUSED},
    on=(REFERENCE, COTURN, CHATMAIL),
)
def secrets_differ(site: Site) -> None:
    if site.layout == REFERENCE:
        site.mutate("turn_other_secret")
    site.turn_wants["turn_secret"] = "a secret that mail does not know"  # noqa: S105 - the fault


@fault(
    "TURN has got a new secret, and mail was not told",
    cause="turn.secret_differs",
    red={GRANTS: REFUSED},
    on=(COTURN,),
)
def secret_changed_by_a_restart(site: Site) -> None:
    site.later(lambda server: server.program(Service.TURN).stop())
    site.later(lambda _server: site.edit_now("coturn", "s/^static-auth-secret=.*/static-auth-secret=new/"))
    site.later(lambda server: server.program(Service.TURN).start())


@fault(
    "the secret of TURN is one that stands in public source code",
    cause="turn.secret_well_known",
    red={"turn.turn_refuses_wrong_credentials": "well-known secret"},
    on=(REFERENCE, COTURN, MADMAIL),
)
def secret_well_known(site: Site) -> None:
    site.wants |= Wants(turn_secret=LITERAL)


@fault(
    "the secret of TURN is the word that the documentation of coturn has for it",
    cause="turn.secret_well_known",
    red={"turn.turn_refuses_wrong_credentials": "well-known secret"},
    on=(COTURN, MADMAIL),
)
def secret_from_the_documentation(site: Site) -> None:
    site.wants |= Wants(turn_secret="static-auth-secret")  # noqa: S106 - the fault


@fault(
    "the clock of the whole server is a day behind, so that credentials are expired when they are given",
    cause=EXPIRED,
    red={OFFERED: "expired"},
    on=(REFERENCE, MADMAIL),
)
def clock_a_day_behind(site: Site) -> None:
    for program in ("reference", "madmail"):
        site.set_clock(program, "-25h")


@fault(
    "the clock of mail is a day behind that of TURN, which refuses the expired credentials",
    cause=EXPIRED,
    red={OFFERED: "expired", GRANTS: REFUSED},
    on=WITH_COTURN,
)
def clock_of_mail_a_day_behind(site: Site) -> None:
    site.set_clock("reference", "-25h")


@fault(
    "the clock of TURN is two days ahead, so that it takes all credentials to be expired",
    cause=("turn.clock_wrong", "turn.secret_differs"),
    red={GRANTS: REFUSED},
    on=WITH_COTURN,
)
def clock_of_turn_two_days_ahead(site: Site) -> None:
    site.set_clock("coturn", "+49h")


@fault(
    "the expiry of the credentials is in milliseconds",
    cause="turn.expiry_in_milliseconds",
    red={OFFERED: "must be an expiry in unix seconds"},
    on=(REFERENCE, COTURN),
)
def expiry_in_milliseconds(site: Site) -> None:
    site.mutate("turn_milliseconds")


@fault(
    "METADATA `turns` names a port of TURN that speaks no TLS",
    cause="turn.turns_without_tls",
    red={TURNS: "does not speak TLS"},
    on=(REFERENCE,),
)
def turns_without_tls(site: Site) -> None:
    site.mutate("turns_without_tls")


@fault(
    "METADATA `turns` names a port at which nothing listens",
    cause="turn.turns_without_tls",
    red={TURNS: "cannot be used"},
    on=WITH_COTURN,
)
def turns_port_closed(site: Site) -> None:
    site.edit("coturn", "$a no-tls")


@fault(
    "TURN over TLS shows a certificate of a CA that nobody knows",
    cause="turn.turns_certificate",
    red={TURNS: "certificate"},
    on=WITH_COTURN,
)
def turns_certificate_untrusted(site: Site) -> None:
    _show(site, site.private.issue(site.own))


@fault(
    "TURN over TLS shows the certificate of another name",
    cause="turn.turns_certificate",
    red={TURNS: "certificate"},
    on=WITH_COTURN,
)
def turns_certificate_of_another_name(site: Site) -> None:
    _show(site, site.authority.issue("turn.elsewhere.example"))


def _show(site: Site, certificate: Issued) -> None:
    site.edit("coturn", f"s#^cert=.*#cert={certificate.chain}#; s#^pkey=.*#pkey={certificate.key}#")


@fault(
    "TURN relays to addresses of the server's own network",
    cause="turn.reaches_private_peers",
    red={"turn.turn_enforces_permissions": "10.0.0.1"},
    on=(COTURN,),
)
def private_peers_allowed(site: Site) -> None:
    site.edit("coturn", "/^denied-peer-ip/d; $a allow-loopback-peers")


@fault(
    "TURN tells clients somebody else's address as the relayed one",
    cause="turn.relayed_address_foreign",
    red={GRANTS: "which is no address of"},
    on=(COTURN,),
)
def relayed_address_of_somebody_else(site: Site) -> None:
    site.edit("coturn", f"$a external-ip={site.stranger.address}")


@fault(
    "TURN sends every client to an alternate server, which is itself (300 Try Alternate)",
    cause="turn.redirect_loop",
    red={GRANTS: "clients follow once"},
    on=(COTURN,),
)
def redirected_to_itself(site: Site) -> None:
    site.redirect("udp", OTHER_PORT, TURN_PORT)
    site.edit("coturn", f"$a alternate-server={site.own}:{OTHER_PORT}")


@fault(
    "TURN has room for one allocation of each user, and everybody who reads METADATA in one second is one user",
    cause="turn.quota_too_small",
    red={ALLOCATES: "486"},
    on=(COTURN,),
)
def quota_too_small(site: Site) -> None:
    site.edit("coturn", "$a user-quota=1")


@fault("TURN behind a 1:1 NAT tells clients the outer address, as it should", on=(COTURN,))
def nat_with_the_outer_address(site: Site) -> None:
    site.put_behind_nat("10.0.0.5")
    site.names.set(TURN_NAME, site.own)
    site.offer_turn(TURN_NAME)
    site.wants |= Wants(advertised_turns=f"{TURN_NAME}:5349")
    site.offer_relay(f"http://{site.own}:3340")
    site.edit("coturn", f"$a external-ip={site.own}/10.0.0.5")
