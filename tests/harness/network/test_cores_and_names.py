"""A real core in a lab finds a TURN server by its name, or does not (TURN-8); and a chatmail server by a domain."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from deltachat_rpc_client import DeltaChat

from harness.calls.servers import IceServerError, ice_servers
from harness.clients.core.core import Account, Core
from harness.clients.core.versions import CoreChoice
from harness.clients.device import Device, devices_online
from harness.network.names import Failure, Query, Refusal, Slow, Wrong
from harness.servers.reference import COMMAND, Reference
from harness.servers.server import Wants
from harness.stage import offers
from harness.stage.lab import LabStage
from harness.stage.outcome import PromiseBroken

from ..labs import lab_stage

DOMAIN = "_chat.example"
TURN = "turn.chat.example"
OTHER = "5.9.7.7"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStage]:
    of_domain = Reference([*COMMAND, "--domain", DOMAIN])
    with lab_stage(tmp_path_factory.mktemp("lab"), Wants(advertised_turn=f"{TURN}:3478"), of_domain) as lab:
        lab.network.names.set(TURN, lab.machine.address)
        yield lab


@pytest.fixture
def alice(lab: LabStage) -> Iterator[Device]:
    """On a machine of her own for each test: what a core has found once, it remembers."""
    host = lab.network.server("alice")
    offers.require_own_services(lab.target, lab.machine)
    with devices_online(["alice"], lab.target, lab.logs, host=host) as (device,):
        device.account.wait_for("ImapInboxIdle", "METADATA to be read, which is before IDLE", within=60)
        yield device
    lab.network.names.heal(TURN)


def urls(device: Device) -> tuple[list[str], float]:
    """Those that core gives its user interface, and how many seconds it took."""
    started = time.monotonic()
    servers = device.account.client.ice_servers()
    return [url for each in servers for url in each["urls"]], time.monotonic() - started


def asked_by(lab: LabStage, device: Device) -> list[Query]:
    return [each for each in lab.network.names.queries if each.asker == device.host.address]


def test_core_asks_for_the_turn_host_when_it_is_wanted(lab, alice):
    assert asked_by(lab, alice) == []
    assert urls(alice)[0] == [f"turn:{lab.machine.address}:3478"]
    assert {(each.name, each.type) for each in asked_by(lab, alice)} == {(TURN, "A"), (TURN, "AAAA")}
    offer = offers.own_turn(lab.target, alice.host)
    assert [each.urls for each in ice_servers(alice.account, offer, alice.host)] == [
        (f"turn:{lab.machine.address}:3478",)
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
    lab: LabStage, alice: Device, failure: Failure, least: float, most: float
) -> None:
    lab.network.names.fail(TURN, failure)
    found, seconds = urls(alice)
    assert found == []
    assert least <= seconds <= most
    assert {each.name for each in asked_by(lab, alice)} == {TURN}
    lab.network.names.heal(TURN)
    assert urls(alice)[0] == [f"turn:{lab.machine.address}:3478"]


def test_the_harness_names_the_cause(lab, alice):
    offer = offers.own_turn(lab.target, alice.host)
    lab.network.names.fail(TURN, Refusal.NXDOMAIN)
    with pytest.raises(IceServerError, match=f"{TURN} has no address: .* NXDOMAIN"):
        ice_servers(alice.account, offer, alice.host)
    with pytest.raises(PromiseBroken, match=f"but nowhere: .*{TURN} has no address"):
        offers.own_turn(lab.target, alice.host)
    lab.network.names.fail(TURN, Wrong((OTHER,)))
    with pytest.raises(PromiseBroken, match=f"but at {OTHER}"):
        offers.own_turn(lab.target, alice.host)


def test_a_wrong_answer_is_believed_and_outlives_its_correction_once(lab, alice):
    """Core answers from its memory first, and asks again behind our back."""
    lab.network.names.fail(TURN, Wrong((OTHER,)))
    assert urls(alice)[0] == [f"turn:{OTHER}:3478"]
    lab.network.names.heal(TURN)
    assert urls(alice)[0] == [f"turn:{OTHER}:3478"]


def test_a_late_answer_is_waited_for(lab, alice):
    lab.network.names.fail(TURN, Slow(1.5))
    found, seconds = urls(alice)
    assert found == [f"turn:{lab.machine.address}:3478"]
    assert seconds >= 1.4


@pytest.mark.parametrize("failure", [Refusal.NXDOMAIN, Refusal.SILENCE], ids=str)
def test_a_name_that_was_found_once_is_remembered(lab: LabStage, alice: Device, failure: Failure) -> None:
    """What "works where DNS is unreliable" means in core 2.65."""
    assert urls(alice)[0] == [f"turn:{lab.machine.address}:3478"]
    lab.network.names.fail(TURN, failure)
    for _ in range(3):
        found, seconds = urls(alice)
        assert found == [f"turn:{lab.machine.address}:3478"]
        assert seconds < 4


@pytest.mark.parametrize("code", [f"dcaccount:{DOMAIN}", f"dcaccount:https://{DOMAIN}/new"])
def test_an_account_from_nothing_but_a_domain(lab: LabStage, code: str) -> None:
    """Core accepts the certificate of a domain with an underscore, and guesses where its services are."""
    lab.network.names.set(DOMAIN, lab.machine.address)
    host = lab.network.server("bob")
    with Core(lab.logs, name="bob", host=host, binary=CoreChoice().for_device("bob").path) as core:
        client = DeltaChat(core.rpc).add_account()
        client.add_transport_from_qr(code)
        (transport,) = client.list_transports()
        assert transport["addr"].endswith(f"@{DOMAIN}")
        Account(core, client, transport["addr"], bot=True).bring_online(within=60)
    asked = {each.name for each in lab.network.names.queries if each.asker == host.address}
    assert DOMAIN in asked
