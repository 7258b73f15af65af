"""Faults of a real madmail's deployment: each is red, and named. They need its binary, which no package has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.calls.agent import calls_are_possible
from harness.checks import calls_paths, discovery, relay, turn, turn_from_outside
from harness.hosts import Host, MissingCapability
from harness.network.lab import LabHost
from harness.network.preflight import preflight
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.compose import compose
from harness.servers.coturn import Coturn
from harness.servers.madmail import BINARY_VARIABLE, Madmail
from harness.servers.server import Place, Running, Server, Wants
from harness.stage.check import CHECKS
from harness.stage.options import Choice
from harness.stage.outcome import Outcome
from harness.stage.session import Session, open_session
from harness.target import Service

from .coturn import needs_coturn

pytestmark = pytest.mark.skipif(
    not os.environ.get(BINARY_VARIABLE),
    reason=f"capability madmail: no package has it: {BINARY_VARIABLE}=PATH in the environment",
)
ROOMS = (calls_paths, discovery, relay, turn, turn_from_outside)
"""Imported for their checks."""
DISCARD = 9
"""A TCP port on which nobody listens."""
CLOSED_RANGE = """\
table inet closed {
 chain in {
  type filter hook input priority filter
  iifname != "lo" udp dport 49152-65535 drop
 }
}
"""


def as_told(_place: Place, wants: Wants) -> Wants:
    return wants


@dataclass(frozen=True)
class ToldOtherwise:
    """A server whose operator has written something else into its configuration."""

    server: Server
    change: Callable[[Place, Wants], Wants]

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def services(self) -> frozenset[Service]:
        return self.server.services

    @property
    def translates(self) -> frozenset[str]:
        return self.server.translates

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        return self.server.start(host, place, self.change(place, wants))


@contextmanager
def session_of(kind: Server, tmp_path: Path, wants: Wants | None = None) -> Iterator[Session]:
    with open_session(Run(tmp_path / "run"), kind=kind, wants=wants) as session:
        yield session


def verdict_of(name: str, session: Session) -> Outcome:
    return CHECKS[name].run(session.stage(name))


def test_a_healthy_one_passes_where_the_broken_ones_fail(tmp_path):
    with session_of(Madmail(), tmp_path) as session:
        assert not session.absent
        for name in ("relay.relay_forwards_each_frame_once", "turn.turn_allocates_with_offered_credentials"):
            assert verdict_of(name, session), name


def test_without_turn_users_go_elsewhere_and_whoever_must_have_it_is_told(tmp_path):
    choice = Choice(kind=Madmail(), must=frozenset({"turn"}))
    wants = Wants(services=frozenset({Service.MAIL, Service.IROH_RELAY}))
    with open_session(Run(tmp_path / "run"), choice, wants=wants) as session:
        outcome = verdict_of("turn.turn_is_offered", session)
    assert outcome.verdict is Verdict.FAILED
    assert "METADATA has no value for /shared/vendor/deltachat/turn" in outcome.reason
    with session_of(Madmail(), tmp_path, wants) as session:
        assert session.absent == ["madmail offers no TURN: clients use somebody else's"]


def test_a_dead_relay_is_red_though_mail_goes_on(tmp_path):
    with session_of(Madmail(), tmp_path) as session:
        session.server.program(Service.IROH_RELAY).kill()
        assert verdict_of("discovery.metadata_offers_a_relay", session)  # madmail has not noticed
        outcome = verdict_of("relay.relay_is_reachable", session)
        assert outcome.verdict is Verdict.FAILED
        assert "refused" in outcome.reason
        assert verdict_of("relay.relay_admits_a_client", session).verdict is Verdict.NOT_REACHED
        session.server.program(Service.IROH_RELAY).start()
        assert verdict_of("relay.relay_is_reachable", session)


def test_a_relay_advertised_at_a_dead_port_is_red(tmp_path):
    kind = ToldOtherwise(
        Madmail(),
        lambda place, wants: replace(wants, advertised_relay=f"http://{place.address}:{DISCARD}"),
    )
    with session_of(kind, tmp_path) as session:
        outcome = verdict_of("relay.relay_is_reachable", session)
    assert outcome.verdict is Verdict.FAILED
    assert f":{DISCARD}/" in outcome.reason
    assert "refused" in outcome.reason


@needs_coturn
def test_a_turn_server_with_another_secret_is_red(tmp_path):
    other = ToldOtherwise(Coturn(), lambda _place, wants: replace(wants, turn_secret="another"))
    with session_of(compose([Madmail(), other]), tmp_path) as session:
        outcome = verdict_of("turn.turn_grants_an_allocation", session)
    assert outcome.verdict is Verdict.FAILED
    assert "does not accept this username, password" in outcome.reason


@needs_coturn
def test_turn_of_another_program_is_advertised_and_used(tmp_path):
    with session_of(compose([Madmail(), Coturn()]), tmp_path) as session:
        assert verdict_of("turn.turn_allocates_with_offered_credentials", session)
        assert {"madmail", "coturn"} <= session.server.versions.keys()
        session.server.program(Service.TURN).stop()
        outcome = verdict_of("turn.turn_grants_an_allocation", session)
    assert outcome.verdict is Verdict.FAILED


@dataclass(frozen=True)
class BehindFirewall(ToldOtherwise):
    """A server whose machine lets nothing in to the ports of relayed transport addresses."""

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        if isinstance(host, LabHost):
            host.namespace.nft(CLOSED_RANGE)
        return super().start(host, place, wants)


def test_a_closed_range_of_relay_ports_is_red_from_outside_alone(tmp_path):
    try:
        preflight().require("netns", "nft")
    except MissingCapability as missing:
        pytest.skip(str(missing))
    with session_of(BehindFirewall(Madmail(), as_told), tmp_path) as session:
        assert verdict_of("turn.turn_allocates_with_offered_credentials", session)
        outcome = verdict_of("turn_from_outside.relayed_address_answers_a_plain_peer", session)
        assert outcome.verdict is Verdict.FAILED
        assert "open them in the firewall (UDP 49152-65535" in outcome.reason
        if not calls_are_possible():
            return
        outcome = verdict_of("calls_paths.one_leg_call_is_relayed", session)
        assert outcome.verdict is Verdict.FAILED
        assert "2 sides use an allocation, where one is enough for both" in outcome.reason
