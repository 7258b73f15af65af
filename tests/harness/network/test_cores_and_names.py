"""A real core in a lab finds a TURN server by its name, or does not (TURN-8); and a chatmail server by a domain."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from deltachat_rpc_client import DeltaChat
from harness.steps.outcome import PromiseBroken

from harness.calls.servers import IceServerError, ice_servers
from harness.checks.discovery import offered_turn
from harness.clients.core.core import Account, Core
from harness.clients.core.versions import CoreChoice
from harness.clients.device import Device
from harness.hosts import MissingCapability
from harness.network.names import Failure, Query, Refusal, Slow, Wrong
from harness.stage.lab import LabSession, open_lab

DOMAIN = "_chat.example"
TURN = "turn.chat.example"
OTHER = "5.9.7.7"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSession]:
    arguments = ["--domain", DOMAIN, "--advertise-turn", f"{TURN}:3478"]
    try:
        with open_lab(tmp_path_factory.mktemp("logs"), arguments=arguments) as session:
            session.lab.names.set(TURN, session.server.address)
            yield session
    except MissingCapability as missing:
        pytest.skip(str(missing))


@pytest.fixture
def alice(session: LabSession) -> Iterator[Device]:
    with session.devices({"alice": session.lab.server("alice")}) as (device,):
        device.account.wait_for("ImapInboxIdle", "METADATA to be read, which is before IDLE", within=60)
        yield device
    session.lab.names.heal(TURN)


def urls(device: Device) -> tuple[list[str], float]:
    """Those that core gives its user interface, and how many seconds it took."""
    started = time.monotonic()
    servers = device.account.client.ice_servers()
    return [url for each in servers for url in each["urls"]], time.monotonic() - started


def asked_by(session: LabSession, device: Device) -> list[Query]:
    return [each for each in session.lab.names.queries if each.asker == device.host.address]


def test_core_asks_for_the_turn_host_when_it_is_wanted(session, alice):
    assert asked_by(session, alice) == []
    assert urls(alice)[0] == [f"turn:{session.server.address}:3478"]
    assert {(each.name, each.type) for each in asked_by(session, alice)} == {(TURN, "A"), (TURN, "AAAA")}
    offer = offered_turn(session.target, alice.host)
    assert [each.urls for each in ice_servers(alice.account, offer, alice.host)] == [
        (f"turn:{session.server.address}:3478",)
    ]


@pytest.mark.parametrize(
    ("failure", "least", "most"),
    [
        pytest.param(Refusal.NXDOMAIN, 0, 4, id="NXDOMAIN"),
        pytest.param(Refusal.SILENCE, 4, 50, id="silence"),
        pytest.param(Refusal.SERVFAIL, 0, 50, id="SERVFAIL", marks=pytest.mark.nightly),
        pytest.param(Slow(20), 4, 50, id="too slow", marks=pytest.mark.nightly),
    ],
)
def test_a_core_that_cannot_resolve_has_no_server_and_asks_nobody_else(
    session: LabSession, alice: Device, failure: Failure, least: float, most: float
) -> None:
    session.lab.names.fail(TURN, failure)
    found, seconds = urls(alice)
    assert found == []
    assert least <= seconds <= most
    assert {each.name for each in asked_by(session, alice)} == {TURN}
    session.lab.names.heal(TURN)
    assert urls(alice)[0] == [f"turn:{session.server.address}:3478"]


def test_the_harness_names_the_cause(session, alice):
    offer = offered_turn(session.target, alice.host)
    session.lab.names.fail(TURN, Refusal.NXDOMAIN)
    with pytest.raises(IceServerError, match=f"{TURN} has no address: .* NXDOMAIN"):
        ice_servers(alice.account, offer, alice.host)
    with pytest.raises(PromiseBroken, match=f"but nowhere: .*{TURN} has no address"):
        offered_turn(session.target, alice.host)
    session.lab.names.fail(TURN, Wrong((OTHER,)))
    with pytest.raises(PromiseBroken, match=f"but at {OTHER}"):
        offered_turn(session.target, alice.host)


def test_a_wrong_answer_is_believed_and_outlives_its_correction_once(session, alice):
    """Core answers from its memory first, and asks again behind our back."""
    session.lab.names.fail(TURN, Wrong((OTHER,)))
    assert urls(alice)[0] == [f"turn:{OTHER}:3478"]
    session.lab.names.heal(TURN)
    assert urls(alice)[0] == [f"turn:{OTHER}:3478"]


def test_a_late_answer_is_waited_for(session, alice):
    session.lab.names.fail(TURN, Slow(1.5))
    found, seconds = urls(alice)
    assert found == [f"turn:{session.server.address}:3478"]
    assert seconds >= 1.4


@pytest.mark.parametrize("failure", [Refusal.NXDOMAIN, Refusal.SILENCE], ids=str)
def test_a_name_that_was_found_once_is_remembered(
    session: LabSession, alice: Device, failure: Failure
) -> None:
    """What "works where DNS is unreliable" means in core 2.65."""
    assert urls(alice)[0] == [f"turn:{session.server.address}:3478"]
    session.lab.names.fail(TURN, failure)
    for _ in range(3):
        found, seconds = urls(alice)
        assert found == [f"turn:{session.server.address}:3478"]
        assert seconds < 4


@pytest.mark.parametrize("code", [f"dcaccount:{DOMAIN}", f"dcaccount:https://{DOMAIN}/new"])
def test_an_account_from_nothing_but_a_domain(session: LabSession, code: str) -> None:
    """Core accepts the certificate of a domain with an underscore, and guesses where its services are."""
    session.lab.names.set(DOMAIN, session.server.address)
    host = session.lab.server("bob")
    with Core(session.logs, name="bob", host=host, binary=CoreChoice().for_device("bob").path) as core:
        client = DeltaChat(core.rpc).add_account()
        client.add_transport_from_qr(code)
        (transport,) = client.list_transports()
        assert transport["addr"].endswith(f"@{DOMAIN}")
        Account(core, client, transport["addr"], bot=True).bring_online(within=60)
    asked = {each.name for each in session.lab.names.queries if each.asker == host.address}
    assert DOMAIN in asked
