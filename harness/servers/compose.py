"""One server of several programs: each service from another one, told of each other as an operator would."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..hosts import Host
from ..target import Service, Target
from ..urls import TurnUrl
from .dovecot import Dovecot
from .server import Place, Ports, Program, Running, RunningServer, Server, ServerError, Wants, require

__all__ = ["Composition", "compose"]

SET_BY = {
    "turn_ttl": {Service.MAIL},
    "turn_lifetimes": {Service.TURN},
    "strict_permissions": {Service.TURN},
    "relay_ping_interval": {Service.IROH_RELAY},
    "advertised_relay": {Service.MAIL},
    "advertised_turn": {Service.MAIL},
    "advertised_turns": {Service.MAIL},
    "turn_secret": {Service.MAIL, Service.TURN},
    "dovecot": {Service.MAIL},
    "no_logs": {Service.MAIL},
    "both_families": set(Service),
    "federation": {Service.MAIL},
    "mxdeliv": {Service.MAIL},
    "program_name": {Service.MAIL},
}
"""Services whose programs must translate a want."""


def compose(servers: Sequence[Server]) -> Server:
    """The first provides what no later one does. Raises `ValueError` with a sentence where that is no server."""
    first, *others = servers
    if Service.MAIL not in first.services:
        raise ValueError(
            f"{first.name} has no mail: put a server that has before it, as in reference+{first.name}"
        )
    if not others:
        return first
    if len([each for each in others if isinstance(each, Dovecot)]) > 1:
        raise ValueError("dovecot twice in front of one server: name it once")
    providers = dict.fromkeys(first.services, first)
    for other in others:
        if isinstance(other, Dovecot) and "dovecot" not in first.translates:
            raise ValueError(f"{first.name} cannot have dovecot in front of it, as reference can")
        if Service.MAIL in other.services:
            raise ValueError(
                f"{first.name} and {other.name} are two whole servers, which provide mail both: name one"
            )
        for service in sorted(other.services):
            claimed = providers.get(service, first)
            if claimed is not first:
                raise ValueError(
                    f"both {claimed.name} and {other.name} would provide {service.display_name}: name one"
                )
            providers[service] = other
    return Composition(first, tuple(others))


class Composition:
    """A whole server, some of whose services other programs provide."""

    def __init__(self, base: Server, parts: Sequence[Server]) -> None:
        self._base, self._parts = base, [each for each in parts if not isinstance(each, Dovecot)]
        self._dovecot = next((each for each in parts if isinstance(each, Dovecot)), None)
        self.name = "+".join(each.name for each in (base, *parts))
        self.services = base.services.union(*(each.services for each in parts))
        provider = dict.fromkeys(self.services, base) | {
            service: part for part in parts for service in part.services
        }
        self.translates = frozenset(
            name
            for name, services in SET_BY.items()
            if (name != "dovecot" or self._dovecot is None)
            and all(name in provider[each].translates for each in services & self.services)
        )

    def start(self, host: Host, place: Place, wants: Wants) -> RunningServer:
        require(self, wants)
        if wants.turn_secret is None:
            wants = replace(wants, turn_secret=secrets.token_urlsafe(32))
        with ExitStack() as stack:
            parts = [
                stack.enter_context(part.start(host, place, _share(wants, part)))
                for part in self._parts
                if part.services & wants.services
            ]
            taken = frozenset[Service]().union(*(part.services for part in self._parts))
            told = replace(_share(wants, self._base), services=wants.services - taken)
            for part in parts:
                if part.turn_secret is not None and "turn_secret" in self._base.translates:
                    told = replace(told, turn_secret=part.turn_secret)  # a part may have one of its own
                told |= _advertised(part).only(self._base.translates - told.stated)
            if self._dovecot is not None:
                told = replace(told, dovecot=self._dovecot.sockets(place))
            base = stack.enter_context(self._base.start(host, place, told))
            if not isinstance(base, RunningServer):
                raise ServerError(f"{base.name} runs, and has no mail")
            if self._dovecot is not None:
                at = replace(place, ports=_ports_of(base.target))
                in_front = self._dovecot.start(host, at, _share(wants, self._dovecot))
                parts.append(_as_one(Service.MAIL, base, stack.enter_context(in_front)))
            joined = _joined(self.name, base, parts, place)
            joined.ends = stack.pop_all()
            joined.target = _with_lifetimes(joined.target, wants)
            return joined


def _share(wants: Wants, server: Server) -> Wants:
    """The wants that are for one of the programs."""
    return replace(wants.only(server.translates), services=wants.services & server.services)


def _ports_of(target: Target) -> Ports:
    """Those of mail."""
    return Ports(target.imaps, target.imap, target.submissions, target.submission, target.https)


def _as_one(service: Service, behind: Running, in_front: Running) -> Running:
    """What stands in front, with the programs of both, which provide that service between them."""
    both = _Together([behind.programs[service], in_front.programs[service]])
    return replace(in_front, programs={service: both})


class _Together(Program):
    """Programs that provide one service between them, disturbed as one.

    The last is in front, and keeps what the first accepts: it is there before, and ends afterwards.
    """

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = programs
        self.name = "+".join(each.name for each in programs)
        self.version = " + ".join(each.version for each in programs if each.version)

    @property
    def log(self) -> Path | None:
        return self._programs[-1].log

    def start(self) -> None:
        for each in reversed(self._programs):
            each.start()

    def stop(self) -> None:
        for each in self._programs:
            each.stop()

    def kill(self) -> None:
        for each in self._programs:
            each.kill()

    def pause(self) -> None:
        for each in self._programs:
            each.pause()

    def resume(self) -> None:
        for each in reversed(self._programs):
            each.resume()


def _advertised(part: Running) -> Wants:
    """METADATA that leads to the services of a part."""
    by_transport = {url.transport: url for url in part.turn}
    return Wants(
        advertised_turn=_host_and_port(by_transport["udp"]) if "udp" in by_transport else None,
        advertised_turns=_host_and_port(by_transport["tls"]) if "tls" in by_transport else None,
        advertised_relay=str(part.iroh_relay).rstrip("/") if part.iroh_relay else None,
    )


def _host_and_port(url: TurnUrl) -> str:
    return f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"


def _joined(name: str, base: RunningServer, parts: Sequence[Running], place: Place) -> RunningServer:
    programs: dict[Service, Program] = dict(base.programs)
    turn: tuple[TurnUrl, ...] = base.turn
    relay, metrics, sessions = base.iroh_relay, base.relay_metrics, base.turn_sessions
    for part in parts:
        programs |= part.programs
        metrics = part.relay_metrics or metrics
        sessions = part.turn_sessions or sessions
        turn += part.turn
        relay = part.iroh_relay or relay
    capabilities = base.target.capabilities.union(*(part.capabilities for part in parts))
    ca_file = _bundle(place, [each.ca_file for each in (base, *parts) if each.ca_file])
    target: Target = replace(
        base.target, name=name, capabilities=capabilities, turn=turn, iroh_relay=relay, ca_file=ca_file
    )
    return replace(  # whatever else the base has, it has for all
        base,
        name=name,
        programs=programs,
        turn=turn,
        iroh_relay=relay,
        capabilities=capabilities,
        ca_file=ca_file,
        relay_metrics=metrics,
        turn_sessions=sessions,
        target=target,
    )


def _with_lifetimes(target: Target, wants: Wants) -> Target:
    """Those that its TURN server was told; the base, which describes the target, knows nothing of them."""
    if (lifetimes := wants.turn_lifetimes) is None:
        return target
    return replace(
        target,
        turn_permission_lifetime=lifetimes.permission,
        turn_channel_lifetime=lifetimes.channel,
    )


def _bundle(place: Place, files: Sequence[Path]) -> Path | None:
    """One file with every CA."""
    if not files:
        return None
    bundle = place.directory("ca") / "bundle.pem"
    bundle.write_text("\n".join(file.read_text() for file in files))
    return bundle
