"""Consistency checks: inside one file, and between maddy.conf and iroh-relay.toml."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from ..addresses import is_unspecified
from ..certificate_pair import pair_problem
from .directives import Listener
from .findings import Finding, Place, error, warning
from .maddy import DEFAULT_RELAY_PORTS, TURN_PORT, Endpoint, Imap, MaddyConfig, Turn, TurnOffer
from .relay import RelayFile

__all__ = ["consistency"]


@dataclass(frozen=True)
class _Bound:
    """One port that some service takes."""

    transport: str
    host: str
    port: int
    service: str
    place: Place

    def collides(self, other: _Bound) -> bool:
        same_port = (self.transport, self.port) == (other.transport, other.port)
        hosts = {self.host, other.host}
        return same_port and self.port != 0 and (len(hosts) == 1 or any(map(is_unspecified, hosts)))


def consistency(maddy: MaddyConfig | None, relay: RelayFile | None) -> list[Finding]:
    """Everything that is inconsistent, in the order of files and lines. Looks for certificates, contacts nobody."""
    found: list[Finding] = []
    if maddy is not None:
        found += _mail(maddy)
        found += _relay_url(maddy, relay)
        found += _turn(maddy)
    if relay is not None:
        found += _relay_certificate(relay)
    found += _collisions(maddy, relay)
    return sorted(found, key=lambda finding: finding.place)


def _mail(maddy: MaddyConfig) -> Iterator[Finding]:
    files = maddy.mail_certificates
    for each in files:
        yield from _unusable(each.place, each.certificate, each.key)
    if len({(each.certificate, each.key) for each in files}) > 1:
        yield warning(files[0].place, "mail has several certificates; this one is used for all of it")
    for endpoint in (maddy.imap, maddy.submission, maddy.smtp, maddy.web):
        listeners = endpoint.listeners if endpoint else ()
        for listener in listeners:
            first = next(each for each in listeners if each.scheme == listener.scheme)
            yield from _mail_listener(listener, first, maddy.public_ip)


def _mail_listener(listener: Listener, first: Listener, public_ip: str) -> Iterator[Finding]:
    """Mail has one address, and one port for each way in; so has madmail, with the first that is named."""
    if listener is not first:
        yield warning(listener.place, f"{listener} is passed over: {first} is there already")
    elif not is_unspecified(listener.host) and listener.host != public_ip:
        yield warning(listener.place, f"{listener}: the server listens on {public_ip} (--host) instead")


def _unusable(place: Place, certificate: Path, key: Path) -> Iterator[Finding]:
    missing = [path for path in (certificate, key) if not path.is_file()]
    for path in missing:
        yield error(place, f"there is no file {path}")
    if not missing and (problem := pair_problem(certificate, key)):
        yield error(place, f"{certificate} and {key} cannot be used: {problem}")


def _relay_url(maddy: MaddyConfig, relay: RelayFile | None) -> Iterator[Finding]:
    imap = maddy.imap
    if imap is None or imap.iroh_relay_url is None:
        if relay is not None and relay.config.enable_relay:
            place = imap.place if imap else Place(maddy.file, 1)
            yield warning(place, f"there is no iroh_relay_url: the relay of {relay.file} is advertised")
        return
    url, place = urlsplit(imap.iroh_relay_url), imap.where("iroh_relay_url")
    problem = _why_nobody_answers(url, relay)
    if problem:
        yield error(place, f"iroh_relay_url {imap.iroh_relay_url}: {problem}")
    elif url.scheme == "https" and (relay is None or relay.config.tls is None):
        yield warning(
            place,
            f"iroh_relay_url {imap.iroh_relay_url}: the relay has no tls here, so a proxy in front of it must have it",
        )
    elif relay is None and url.hostname != maddy.public_ip:
        yield warning(place, f"iroh_relay_url is on {url.hostname}, this server's relay on {maddy.public_ip}")


def _why_nobody_answers(url: SplitResult, relay: RelayFile | None) -> str | None:
    secure = url.scheme == "https"
    if relay is None:
        return None
    config = relay.config
    if not config.enable_relay:
        return f"{relay.file} says enable_relay = false"
    if config.tls is None and secure:
        return None
    if config.tls is not None and not secure:
        return f"{relay.file} has tls: relaying is https only"
    address = config.http_bind_addr if config.tls is None else config.tls.https_bind_addr
    port = url.port or (443 if secure else 80)
    return None if port == address.port else f"the relay of {relay.file} listens on {address}"


def _relay_certificate(relay: RelayFile) -> Iterator[Finding]:
    if relay.config.tls is not None:
        yield from _unusable(
            relay.place("manual_cert_path"), relay.config.tls.certificate, relay.config.tls.key
        )


def _turn(maddy: MaddyConfig) -> Iterator[Finding]:
    is_wanted = maddy.imap is not None and maddy.imap.turn.enabled
    if maddy.turn_secret is None:
        if maddy.turn is not None:
            yield warning(maddy.turn.place, "turn has no secret: there is no TURN")
        if maddy.imap is not None and is_wanted:
            yield warning(maddy.imap.where("turn_enable"), "turn_enable needs turn_secret: there is no TURN")
        return
    if maddy.turn is not None:
        yield from _turn_server(maddy.turn, maddy)
        if not is_wanted:
            yield warning(maddy.turn.place, "turn is served and not advertised: imap has no turn_enable yes")
    if maddy.imap is not None and is_wanted:
        yield from _turn_offer(maddy.imap, maddy.imap.turn, maddy)


def _turn_server(turn: Turn, maddy: MaddyConfig) -> Iterator[Finding]:
    if turn.realm is None:
        yield warning(turn.place, f"turn has no realm: it is {maddy.turn_realm}")
    if turn.relay_ports is not None and turn.relay_ports[0] > turn.relay_ports[1]:
        yield error(turn.where("relay_port_min"), "relay_port_min is above relay_port_max")
    if turn.relay_ip is not None and is_unspecified(turn.relay_ip):
        yield warning(
            turn.where("relay_ip"), f"relay_ip {turn.relay_ip} is no address that clients could send to"
        )
    for listener in turn.listeners:
        if not is_unspecified(listener.host) and not _is_ip_address(listener.host):
            yield error(listener.place, f"{listener}: turn listens on IP addresses, not on names")
    listens_with_tls = turn.port("tls") is not None
    if turn.asks_for_tls and not listens_with_tls:
        yield error(turn.where("tls"), "turn has tls, and no address tls://...: nothing answers there")
    if listens_with_tls and not turn.asks_for_tls:
        yield warning(turn.place, "turn has an address tls://... and no tls: it has the certificate of mail")
    if turn.tls is not None:
        yield from _unusable(turn.tls.place, turn.tls.certificate, turn.tls.key)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _turn_offer(imap: Imap, offer: TurnOffer, maddy: MaddyConfig) -> Iterator[Finding]:
    if offer.enabled_by_secret and "turn_enable" in imap.places:
        sentence = "turn_enable says no, and madmail offers TURN all the same: turn has a secret below"
        yield warning(imap.where("turn_enable"), sentence)
    first, last = (maddy.turn and maddy.turn.relay_ports) or DEFAULT_RELAY_PORTS
    port = offer.stated_port(maddy.turn)
    of_relays = f"is one of the ports of relayed addresses, {first} to {last}"
    control = offer.port or TURN_PORT  # madmail looks at this one alone, wherever turn listens
    if first <= control <= last:
        place = (
            imap.where("turn_port")
            if offer.port or maddy.turn is None
            else maddy.turn.where("relay_port_min")
        )
        yield error(place, f"turn_port {control} {of_relays}")
    elif first <= port <= last and maddy.turn is not None:
        yield warning(maddy.turn.place, f"turn listens on {port}, which {of_relays}: no client gets that one")
    if offer.server is None:
        yield warning(imap.place, f"there is no turn_server: METADATA names {maddy.turn_server}")
    if offer.server is not None and ":" in offer.server:
        sentence = (
            f"turn_server {offer.server}: expected a name or an IPv4 address, METADATA carries no other"
        )
        yield error(imap.where("turn_server"), sentence)
    turn = maddy.turn
    if turn is None:
        sentence = f"TURN is offered at {maddy.turn_server}:{port}, and there is no turn endpoint here"
        yield warning(imap.where("turn_enable"), sentence)
        return
    if offer.secret and turn.secret and offer.secret != turn.secret:
        sentence = f"turn_secret is not the secret at {turn.where('secret')}: no credentials would work"
        yield error(imap.where("turn_secret"), sentence)
    yield from _turn_ports(imap, offer, turn)


def _turn_ports(imap: Imap, offer: TurnOffer, turn: Turn) -> Iterator[Finding]:
    """Delta Chat core speaks TURN over UDP only; `turn_prefer_tls` advertises the port of a TLS listener."""
    scheme = "tls" if offer.prefer_tls else "udp"
    port = offer.stated_port(turn)
    if not any((each.scheme, each.port) == (scheme, port) for each in turn.listeners):
        wish = " (turn_prefer_tls)" if offer.prefer_tls else ""
        sentence = f"turn_port {port} is advertised{wish}, and turn has no {scheme}:// listener there"
        yield error(imap.where("turn_port"), sentence)
    if offer.prefer_tls and turn.port("udp") is None:
        yield error(turn.place, "turn has no udp:// listener: Delta Chat asks TURN servers over UDP only")


def _collisions(maddy: MaddyConfig | None, relay: RelayFile | None) -> Iterator[Finding]:
    bound = [*_bound_by_maddy(maddy), *_bound_by_relay(relay)]
    for position, second in enumerate(bound):
        for first in bound[:position]:
            if first.collides(second):
                yield error(
                    second.place,
                    f"{second.service} takes {second.transport} port {second.port}, "
                    f"which {first.service} takes too ({first.place})",
                )


def _bound_by_maddy(maddy: MaddyConfig | None) -> Iterator[_Bound]:
    if maddy is None:
        return
    endpoints: dict[str, Endpoint | None] = {
        "imap": maddy.imap,
        "submission": maddy.submission,
        "smtp": maddy.smtp,
        "web": maddy.web,
        "turn": maddy.turn,
    }
    for name, endpoint in endpoints.items():
        for listener in endpoint.listeners if endpoint else ():
            transport = "UDP" if listener.scheme == "udp" else "TCP"
            yield _Bound(transport, listener.host, listener.port, name, listener.place)


def _bound_by_relay(relay: RelayFile | None) -> Iterator[_Bound]:
    if relay is None:
        return
    config = relay.config
    addresses = [("UDP", config.stun_bind_addr, "enable_stun", config.enable_stun)]
    addresses += [("TCP", config.metrics_bind_addr, "metrics_bind_addr", config.enable_metrics)]
    addresses += [("TCP", config.http_bind_addr, "http_bind_addr", config.enable_relay)]
    if config.tls is not None:
        addresses += [("TCP", config.tls.https_bind_addr, "https_bind_addr", config.enable_relay)]
    for transport, address, key, enabled in addresses:
        if enabled:
            yield _Bound(transport, address.host, address.port, f"the relay ({key})", relay.place(key))
