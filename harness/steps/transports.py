"""Profiles that have accounts on two servers (core calls them transports), in a lab with both servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from ..calls.peers import IceServer
from ..calls.servers import judge_ice_servers, servers_of_core
from ..clients.core.core import CoreError, SendFailed, befriend
from ..clients.device import Device
from ..network import profiles
from ..realtime.swarm import Swarm
from ..servers.server import Program, Unsupported, Wants
from ..stage.lab import LabStage
from ..stage.outcome import Outcome, promised
from ..stage.stage import Stage
from ..target import Service, Target
from ..urls import TurnUrl
from ..waiting import WaitTimeout, wait_until
from .calls import Servers
from .chats import JOIN_WITHIN
from .federation import federation

__all__ = [
    "EVERYTHING",
    "SILENT_FOR",
    "TwoServers",
    "hears_nothing",
    "only_of",
    "servers_of_both",
    "turn_apart",
    "two_servers",
]

EVERYTHING = Wants()
PEOPLE = ("alice", "bob")
KNOWN_WITHIN = 10.0
SILENT_FOR = 12.0
"""Seconds in which nothing must arrive, to say that nothing does; a second is usual for what arrives."""


@dataclass(frozen=True)
class TwoServers:
    """Alice and bob, befriended; the profile of each has an account on either server, first on `one`, then on `two`."""

    one: LabStage
    two: LabStage
    alice: Device
    bob: Device

    @property
    def devices(self) -> tuple[Device, Device]:
        return self.alice, self.bob

    @property
    def target(self) -> Target:
        """The first server, and all addresses and the names of both."""
        others = self.one.server_addresses | self.two.server_addresses | self._domains
        others -= {self.one.target.host}
        return replace(self.one.target, other_addresses=others)

    @property
    def version(self) -> str:
        """That of the cores."""
        return self.alice.core.version

    @property
    def relay(self) -> str:
        """URL of the first server's relay, as cores write it."""
        return str(self.one.own_relay())

    def arrives(self, text: str, *, within: float) -> bool:
        """A message for bob is there in time."""
        try:
            self.bob.account.wait_for_message(text, within=within)
        except WaitTimeout:
            return False
        return True

    def copies(self, text: str) -> int:
        """Number of messages with this text that bob has got by now."""
        client = self.bob.account.client
        events = self.bob.account.events("IncomingMsg")
        return sum(client.get_message_by_id(each["msg_id"]).get_snapshot().text == text for each in events)

    def reconnect(self) -> None:
        """Tell the cores that there is a network again: otherwise they wait longer after each failure."""
        for device in self.devices:
            device.core.rpc.maybe_network()

    def text(self, outcome: Outcome, text: str) -> None:
        """Alice writes to bob, and it arrives once."""
        with outcome.expect_to_arrive(SendFailed, what=f"the message {text!r} does not arrive"):
            self.alice.account.wait_until_sent(self.alice.account.send_text(self.bob.account, text))
            self.bob.account.wait_for_message(text)

    def foreign_names(self) -> list[str]:
        """Names that devices asked DNS for, and that are of neither server."""
        network = self.one.network
        asked = {each.name for each in network.names.queries if each.asker not in network.server_addresses}
        return sorted(asked - self._domains)

    @property
    def _domains(self) -> frozenset[str]:
        return frozenset({self.one.target.domain, self.two.target.domain})

    def expect_no_strangers(self) -> None:
        """Devices dealt with both servers and with each other alone."""
        for device in self.devices:
            went = device.foreign_hosts(self.target)
            self.one.outcome.expect(not went, f"{device.name} went to {', '.join(sorted(went))}")
        names = self.foreign_names()
        self.one.outcome.expect(not names, f"devices asked for the names of others: {', '.join(names)}")


@contextmanager
def two_servers(
    stage: Stage, *, first: Wants = EVERYTHING, second: Wants = EVERYTHING
) -> Iterator[TwoServers]:
    """Two servers of the target's kind, and people whose profiles have an account on each. All share the outcome."""
    with federation(stage, "one", "two", named=True, differing={"one": first, "two": second}) as (one, two):
        two.offers()  # raises for what is missing: no core is started then
        hosts = {name: one.network.device(name, profiles.PUBLIC) for name in PEOPLE}
        with one.online(hosts) as (_, (alice, bob)):
            what = "alice and bob do not become contacts by secure join"
            with promised(SendFailed, CoreError, what=what):
                for each in (alice, bob):
                    each.account.add_server(two.target, two.target.new_account())
                befriend(alice.account, bob.account, within=JOIN_WITHIN)
            yield TwoServers(one, two, alice, bob)


def hears_nothing(swarm: Swarm) -> bool:
    """Realtime messages are sent all the time, and no device hears another for `SILENT_FOR` seconds."""
    try:
        swarm.wait_until_up(within=SILENT_FOR)
    except WaitTimeout:
        return True
    return False


def servers_of_both(two: TwoServers) -> Servers:
    """ICE servers by the name of the device: TURN of each server. Raises `IceServerError` for any other."""
    offers = {offer.host: offer for offer in (each.own_turn() for each in (two.one, two.two))}
    found: dict[str, Sequence[IceServer]] = {}
    for device in two.devices:
        servers = wait_until(
            partial(_complete, device, number=len(offers)),
            f"TURN of both at {device.name}",
            within=KNOWN_WITHIN,
        )
        for each in servers:
            host = TurnUrl.parse(each.urls[0]).host
            offer = offers.get(host) or next(iter(offers.values()))
            judge_ice_servers([each], offer, [offer.host])
            two.one.target.on_secret(each.credential or "")
        found[device.name] = servers
    return found


def only_of(server: LabStage, servers: Sequence[IceServer]) -> list[IceServer]:
    """Those of them that are on this server."""
    return [each for each in servers if TurnUrl.parse(each.urls[0]).host in server.server_addresses]


def turn_apart(lab: LabStage) -> Program:
    """The program behind TURN. Raises `Unsupported` where mail ends with it, without which no call rings."""
    program = lab.server.program(Service.TURN)
    if program is lab.server.program(Service.MAIL):
        raise Unsupported(f"{lab.target.name}: TURN and mail are one program, and without mail no call rings")
    return program


def _complete(device: Device, *, number: int) -> list[IceServer]:
    """The ICE servers of a core once there are so many: it reads METADATA of its servers side by side."""
    servers = servers_of_core(device.account)
    return servers if len(servers) >= number else []
