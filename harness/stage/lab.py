"""A stage in a lab: the server at a public address, devices in networks of their own, and who counts what passes."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..calls.servers import TURN_KEY, TURNS_KEY, TurnOffer
from ..clients.control import ServiceLedger
from ..clients.device import Device, devices_online
from ..clients.relay.client import RelayError
from ..clients.relay.metrics import RelayMetrics, read_metrics
from ..evidence.edges import Edges
from ..evidence.egress import DirectTraffic, of_edges
from ..evidence.late import differing_sessions
from ..evidence.parties import ObservedDevice, Parties
from ..hosts import Host
from ..network.lab import Lab, LabHost
from ..network.preflight import preflight
from ..network.probe import self_test
from ..network.profiles import Profile
from ..scratch import scratch_directory
from ..servers.reference import Reference
from ..servers.server import Place, Ports, RunningServer, Unsupported, Wants
from ..target import Service, Target
from ..urls import RelayUrl
from ..waiting import WaitTimeout
from . import offers
from .outcome import Outcome
from .services import STUN_PORT, Offers, parties_of
from .session import Session
from .stage import Stage
from .survey import look_up
from .watch import SETTLE_WITHIN, Watch

__all__ = ["DOMAIN", "RELAY_PORT", "LabStage", "People", "file_of", "open_lab"]

log = logging.getLogger(__name__)
progress = logging.getLogger("harness.progress")

MACHINE = "chatmail"
DOMAIN = "chatmail.example"
"""The name of a server that is reached over IPv4 and IPv6."""
RELAY_PORT = Ports().iroh_relay
MOST_NAMED = 4
"""Devices in the name of a file."""
ON_443 = ("imap", "submission", "iroh_relay", "turns")
"""Services that have an address of their own besides the server's, on TCP port 443 of which they are found."""


@dataclass
class People:
    """Devices that are online, each in its network, and the counters at their edges."""

    lab: LabStage
    hosts: dict[str, LabHost]
    devices: dict[str, Device]
    offers: Offers
    edges: Edges
    _parties: dict[str, ObservedDevice] = field(init=False)

    def __post_init__(self) -> None:
        self._parties = {name: self._party(host) for name, host in self.hosts.items()}

    def __iter__(self) -> Iterator[Device]:
        return iter(self.devices.values())

    def __getitem__(self, name: str) -> Device:
        return self.devices[name]

    def host(self, device: Device) -> LabHost:
        """The machine that a device lives on."""
        return self.hosts[device.name]

    def parties(self, carrier: Service, *names: str) -> Parties:
        """These devices, or all, and everything that the target offers to them; see `services.parties_of`."""
        devices = tuple(party for name, party in self._parties.items() if name in names or not names)
        own, name_servers = self.lab.server_addresses, self.lab.network.name_servers
        return parties_of(
            devices, carrier, self.lab.target, self.offers, addresses=own, name_servers=name_servers
        )

    def watch(
        self, phase: str, carrier: Service, *devices: Device, settle_within: float = SETTLE_WITHIN
    ) -> Watch:
        """Count a phase between these devices, or all, while the block lasts. Phases of other devices may overlap."""
        names = [each.name for each in devices]
        return Watch(
            phase,
            lambda: self.parties(carrier, *names),
            self.edges,
            server=self.lab.server_host.name if self.lab.server_host else None,
            ledger=lambda: self.lab.ledger(carrier),
            metrics=self.lab.relay_metrics if carrier is Service.IROH_RELAY else lambda: None,
            settle_within=settle_within,
        )

    def move(self, device: Device, profile: Profile) -> None:
        """Take a device to another network; its packets may bear the earlier addresses as well."""
        host = self.host(device)
        self.lab.network.move(host, profile)
        self.edges.follow(host)
        self._parties[device.name] = self._party(host, moved_from=self._parties[device.name])

    def expect_nothing_else_contacted(self, toward: DirectTraffic, names: Collection[str]) -> None:
        """The devices dealt with the target's services, and with each other as far as `toward` allows.

        Whom a server asks DNS for is its own affair: some look up the names of those who connect, or of other servers.
        """
        network = self.lab.network
        asked = [
            (each.asker, each.name)
            for each in network.names.queries
            if each.asker not in network.server_addresses
        ]
        everybody = self.parties(Service.TURN)
        known = {*names, *self.lab.names_of_target(self.offers)}
        went = of_edges(self.edges.now(self.hosts), everybody, devices=toward, lookups=asked, names=known)
        self.lab.outcome.expect(went, f"devices went where they should not: {went}")

    def expect_sessions_as_counted(self) -> None:
        """Those of the TURN server that have ended by now, where it says what it carried: a witness that comes late."""
        server = self.lab.server_host
        if self.lab.server.turn_sessions is None or server is None:
            return
        sessions = self.lab.server.turn_sessions()
        differing = differing_sessions(sessions, self.edges.now([server.name])[server.name])
        for sentence in differing:
            self.lab.outcome.expect(False, sentence)
        if sessions and not differing:
            program = self.lab.server.programs[Service.TURN].name
            self.lab.outcome.note(
                f"{program} counted its {len(sessions)} ended sessions as the server's edge did"
            )

    def _party(self, host: LabHost, moved_from: ObservedDevice | None = None) -> ObservedDevice:
        """Behind an uplink, devices know each other by the address that the server sees all of them at."""
        party, way_out = ObservedDevice.at(host, moved_from=moved_from), self.lab.network.way_out
        return replace(party, addresses=party.addresses | {way_out.seen_as}) if way_out else party


@dataclass(frozen=True)
class LabStage:
    """A lab, with the server in it or with a way to a server that is elsewhere."""

    stage: Stage
    network: Lab
    server_host: LabHost | None
    """Where the server runs, if that is in the lab: then its edge is watched, too."""
    host: Host
    """Where our own clients run: the server's machine, or the one that an uplink leads to."""
    server: RunningServer
    target: Target
    """As a device with an ordinary way out uses it."""
    target_443: Target | None
    """The same server where it is on TCP port 443, in a lab at an address for each service; `target` without `nft`.
    None: nobody finds it there."""
    logs: Path
    outcome: Outcome

    @property
    def session(self) -> Session:
        return self.stage.session

    def own_relay(self) -> RelayUrl:
        """The target's own iroh relay, by METADATA. Raises `PromiseBroken` for a missing, unusable or foreign value."""
        return offers.own_relay(self.target, self.host)

    def own_turn(self, key: str = TURN_KEY) -> TurnOffer:
        """The target's own TURN server, likewise."""
        return offers.own_turn(self.target, self.host, key)

    @property
    def machine(self) -> LabHost:
        """Where the server runs. Raises `Unsupported` where that is not in the lab."""
        if self.server_host is None:
            raise Unsupported(f"{self.target.name} runs elsewhere, and this needs a server in the lab")
        return self.server_host

    @property
    def server_addresses(self) -> frozenset[str]:
        """All that the server has."""
        if self.server_host is not None:
            return frozenset(self.server_host.addresses)
        return offers.own_addresses(self.target, self.host)

    def names_of_target(self, offered: Offers) -> frozenset[str]:
        """Names by which devices look for a server that is elsewhere; one in the lab has what a check gives it."""
        if self.server_host is not None:
            return frozenset()
        found = (self.target, offered.relay, offered.turn, offered.turns)
        return frozenset({self.target.domain, *(each.host for each in found if each is not None)})

    def offers(self) -> Offers:
        """All that the target offers. Raises `PromiseBroken` where something is missing that it has, or is foreign."""
        has = self.target.capabilities
        return Offers(
            self.own_relay() if "iroh_relay" in has else None,
            self.own_turn() if "turn" in has else None,
            self.own_turn(TURNS_KEY) if "turns" in has else None,
        )

    def ledger(self, service: Service) -> ServiceLedger | None:
        """Everything that a service of the lab's server says it carried; None: it keeps no ledger."""
        return self.server.ledger(service)

    def relay_metrics(self) -> RelayMetrics | None:
        """What the iroh relay of the lab's server says it carried for everybody; None: it does not."""
        url = self.server.relay_metrics
        if url is None or self.server_host is None:
            return None
        try:
            return read_metrics(self.server_host, url)
        except (RelayError, WaitTimeout) as error:
            log.info("the metrics of the relay were not read: %s", error)
            return None

    @contextmanager
    def people(
        self,
        toward: DirectTraffic = DirectTraffic.ALL,
        lookups: Collection[str] = (),
        /,
        **places: Profile,
    ) -> Iterator[People]:
        """Devices that are online, by name, each in a network of its own of that kind; they end with the block.

        Each kind of network is tested first, and METADATA is read before any core starts. At the end nobody must have
        gone elsewhere, by the counters at the edges: `toward` says what devices may have for each other, `lookups`
        which names they may ask DNS for. Raises `NotAsItSays` if a network is another than its profile says, and
        `Unsupported` for one that lets only port 443 out, where the server is not found there.
        """
        for profile in dict.fromkeys(places.values()):
            self_test(profile)
        hosts = {name: self.network.device(name, profile) for name, profile in places.items()}
        only_443 = self._by_443(places)
        capture = self.logs / f"{file_of(list(places))}.pcapng"
        try:
            with (
                Edges([*hosts.values(), *([self.server_host] if self.server_host else [])], capture) as edges,
                self.online(hosts, only_443) as (offered, devices),
            ):
                self.outcome.profiles |= {name: profile.name for name, profile in places.items()}
                progress.info("%d devices are online, each in a network of its own", len(devices))
                people = People(self, hosts, {each.name: each for each in devices}, offered, edges)
                yield people
                people.expect_nothing_else_contacted(toward, lookups)
                people.expect_sessions_as_counted()
        finally:
            self.outcome.evidence.append(capture)

    @contextmanager
    def online(
        self, hosts: Mapping[str, LabHost], targets: Mapping[str, Target] | None = None
    ) -> Iterator[tuple[Offers, tuple[Device, ...]]]:
        """Devices on these machines, by name, and what the target was found to offer before any core started.

        `targets`: those for whom the target is another, by name.
        """
        offered = self.offers()
        devices: tuple[Device, ...] = ()
        try:
            with devices_online(
                list(hosts),
                self.target,
                self.logs,
                hosts=hosts,
                targets=targets or {},
                cores=self.stage.session.cores,
            ) as devices:
                self.outcome.clients |= {each.name: each.description for each in devices}
                yield offered, devices
        finally:
            self.outcome.evidence += [file for each in devices for file in each.log_files]

    def why_not_reached_from(self, network: Profile) -> str:
        """Reason for which devices in a network of this kind do not find the server's mail; empty: they do."""
        if network.only_443 and self.target_443 is None:
            return f"{self.target.name} has no mail on port 443 (ALPN imap)"
        translated = any(router.nat64 for router in network.routers)
        if network.ipv4 is None and not translated and self.target.host != DOMAIN:
            return f"{self.target.name} is found over IPv4 alone here, and {network.name} has none"
        return ""

    def _by_443(self, places: Mapping[str, Profile]) -> dict[str, Target]:
        """The target as those devices use it that get nowhere else."""
        names = [name for name, profile in places.items() if profile.only_443]
        if names and self.target_443 is None:
            raise Unsupported(
                f"{self.target.name} has no mail on port 443 (ALPN imap): {names[0]} gets nowhere else"
            )
        return {name: self.target_443 for name in names if self.target_443 is not None}


@contextmanager
def open_lab(stage: Stage, wants: Wants) -> Iterator[LabStage]:
    """A lab with a server of the target's kind at a public address and the standard ports.

    With `wants.both_families` it is found by the name `DOMAIN`, over IPv4 and IPv6; METADATA has that name for the
    relay, and for TURN an IPv4 address as ever. Raises `MissingCapability` where this machine cannot have a lab,
    `Unsupported` for a want that the server cannot fulfil, and `ServerError`.
    """
    kind = stage.session.kind
    assert kind is not None, "a check with the need `lab` is left out where no server can be started"
    logs = stage.directory("lab")
    with Lab() as network, scratch_directory("state") as state:
        machine = network.server(MACHINE, addresses=1 + len(ON_443))
        own, *others = (each for each in machine.addresses if ":" not in each)
        # Without rules each service is found at its own port; networks that let only 443 out need rules, too.
        on_443 = dict(zip(ON_443, others, strict=True)) if preflight().has("nft") else {}
        place = Place(own, state, logs, Ports(), certified=tuple(others))
        asked = stage.session.wants | wants
        preferred = Wants()
        if on_443 and Service.TURN in asked.services:
            preferred |= Wants(advertised_turns=f"{on_443['turns']}:443")
        if wants.both_families:
            own6 = next(each for each in machine.addresses if ":" in each)
            network.names.set(DOMAIN, own, own6)
            place = replace(place, name=DOMAIN, address6=own6)
            preferred |= Wants(advertised_relay=f"http://{DOMAIN}:{RELAY_PORT}")
        elif on_443:
            preferred |= Wants(advertised_relay=f"http://{on_443['iroh_relay']}:443")
        asked |= preferred.only(kind.translates - asked.stated)
        with kind.start(machine, place, asked) as server:
            assert isinstance(server, RunningServer)
            if server.turn_secret is not None:
                stage.target.on_secret(server.turn_secret)
            target = replace(
                server.target,
                on_secret=stage.target.on_secret,
                other_addresses=frozenset(machine.addresses) - {own},
                host=DOMAIN if wants.both_families else own,
            )
            if on_443:
                _forward_443(machine, own, on_443, target)
            if kind.name != Reference.name:  # which states all that it has
                target, _ = look_up(target, network.device("looker"))
            target_443 = _by_443(target, on_443) if on_443 else target
            yield LabStage(stage, network, machine, machine, server, target, target_443, logs, stage.outcome)


def file_of(devices: Sequence[str]) -> str:
    """Name of a file about these devices: a lab may have thirty, and a name has 255 bytes at the most."""
    further = len(devices) - MOST_NAMED
    return file_name("-".join([*devices[:MOST_NAMED], *([f"and {further} more"] if further > 0 else [])]))


def file_name(text: str) -> str:
    """Any text as part of a file's name."""
    return re.sub(r"[^\w.-]+", "-", text)


def _by_443(target: Target, on_443: dict[str, str]) -> Target:
    return replace(
        target, imap_host=on_443["imap"], imaps=443, smtp_host=on_443["submission"], submissions=443
    )


def _forward_443(machine: LabHost, own: str, on_443: dict[str, str], target: Target) -> None:
    """As an operator would: a rule on the server's machine, and the services know nothing of it."""
    ports = {"imap": target.imaps, "submission": target.submissions}
    if target.iroh_relay is not None:
        ports["iroh_relay"] = target.iroh_relay.port
    for url in target.turn:
        if url.transport == "tls":
            ports["turns"] = url.port
    rules = "\n".join(
        f"ip daddr {on_443[service]} tcp dport 443 dnat ip to {own}:{port}" for service, port in ports.items()
    )
    rules += f"\nip daddr {on_443['iroh_relay']} udp dport {STUN_PORT} dnat ip to {own}:{STUN_PORT}"
    machine.namespace.nft(
        f"table ip forward443 {{\n chain pre {{\n type nat hook prerouting priority dstnat\n{rules}\n}}\n}}\n"
    )
