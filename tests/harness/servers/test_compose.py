import pytest

from harness.hosts import LocalHost
from harness.servers.compose import compose
from harness.servers.reference import Reference
from harness.servers.server import RunningServer, ServerError, Unsupported, Wants
from harness.target import Service
from harness.urls import RelayUrl, TurnUrl

from .parts import ADDRESS, RECORDS, FakeServer, place

TURN_URLS = (
    TurnUrl("udp", ADDRESS, 3478),
    TurnUrl("tcp", ADDRESS, 3478),
    TurnUrl("tls", ADDRESS, 5349, "turns"),
)
RELAY_URL = RelayUrl(False, ADDRESS, 3340)
ADVERTISED = {"advertised_turn", "advertised_turns", "advertised_relay"}


def whole(**options) -> FakeServer:
    return FakeServer(
        "whole", Service, ADVERTISED | {"turn_secret", "turn_ttl", "strict_permissions"}, **options
    )


def turn_part(**options) -> FakeServer:
    return FakeServer("part", [Service.TURN], {"turn_secret"}, turn=TURN_URLS, **options)


def relay_part(**options) -> FakeServer:
    return FakeServer("relay", [Service.IROH_RELAY], iroh_relay=RELAY_URL, **options)


def started(server, tmp_path, wants=None) -> RunningServer:
    running = server.start(LocalHost(), place(tmp_path), wants or Wants())
    assert isinstance(running, RunningServer)
    return running


def test_one_server_is_itself():
    reference = Reference()
    assert compose([reference]) is reference


@pytest.mark.parametrize(
    ("servers", "sentence"),
    [
        ([turn_part()], r"part has no mail: .* as in reference\+part"),
        ([relay_part(), whole()], "relay has no mail"),
        ([whole(), whole()], "whole and whole are two whole servers, .* mail both: name one"),
        ([whole(), turn_part(), turn_part()], "both part and part would provide TURN: name one"),
    ],
)
def test_what_is_no_server_is_said(servers, sentence):
    with pytest.raises(ValueError, match=sentence):
        compose(servers)


def test_each_service_is_that_of_its_program(tmp_path):
    base, turn, relay = whole(), turn_part(), relay_part()
    server = compose([base, turn, relay])
    assert (server.name, set(server.services)) == ("whole+part+relay", set(Service))
    with started(server, tmp_path) as running:
        assert {each: running.program(each).name for each in Service} == {
            Service.MAIL: "whole",
            Service.TURN: "part",
            Service.IROH_RELAY: "relay",
        }
        assert (running.target.turn, running.target.iroh_relay) == (TURN_URLS, RELAY_URL)
        assert running.target.name == "whole+part+relay"
        assert running.versions == {name: f"{name} 1.0" for name in ("whole", "part", "relay")}
    assert (base.open, turn.open, relay.open) == (0, 0, 0)


def test_what_the_base_has_besides_is_that_of_the_whole(tmp_path):
    """Without the record of its key no other server takes its mail."""
    with started(compose([whole(), turn_part()]), tmp_path) as running:
        assert (running.records, running.files) == (RECORDS, (place(tmp_path).state,))
        assert "admin" in running.target.capabilities


def test_programs_are_told_of_each_other(tmp_path):
    base, turn, relay = whole(), turn_part(), relay_part()
    with started(compose([base, turn, relay]), tmp_path):
        assert base.asked is not None
        assert turn.asked is not None
        assert base.asked.services == {Service.MAIL}
        assert base.asked.advertised_turn == f"{ADDRESS}:3478"
        assert base.asked.advertised_turns == f"{ADDRESS}:5349"
        assert base.asked.advertised_relay == f"http://{ADDRESS}:3340"
        assert base.asked.turn_secret
        assert turn.asked.turn_secret == base.asked.turn_secret


def test_two_runs_have_two_secrets(tmp_path):
    secrets = set()
    for _ in range(2):
        base = whole()
        with started(compose([base, turn_part()]), tmp_path):
            assert base.asked is not None
            secrets.add(base.asked.turn_secret)
    assert len(secrets) == 2


def test_what_the_caller_wants_advertised_is_advertised(tmp_path):
    base = whole()
    with started(compose([base, relay_part()]), tmp_path, Wants(advertised_relay="http://198.51.100.7:443")):
        assert base.asked is not None
        assert base.asked.advertised_relay == "http://198.51.100.7:443"


def test_a_want_goes_to_those_whom_it_is_for(tmp_path):
    base, turn = whole(), turn_part()
    with started(compose([base, turn]), tmp_path, Wants(turn_ttl=4)):
        assert base.asked is not None
        assert turn.asked is not None
        assert (base.asked.turn_ttl, turn.asked.turn_ttl) == (4, None)


def test_a_want_that_the_part_in_charge_cannot_fulfil_is_unsupported(tmp_path):
    base, turn = whole(), turn_part()
    with pytest.raises(Unsupported, match=r"^whole\+part cannot set strict_permissions$"):
        started(compose([base, turn]), tmp_path, Wants(strict_permissions=True))
    assert (base.asked, turn.asked) == (None, None), "nothing may run before that is known"


def test_a_program_that_nobody_wants_is_not_started(tmp_path):
    base, turn = whole(), turn_part()
    only_mail = Wants(services=frozenset({Service.MAIL}))
    with started(compose([base, turn]), tmp_path, only_mail) as running:
        assert turn.asked is None
        with pytest.raises(Unsupported, match="the program behind TURN is not ours"):
            running.program(Service.TURN)


def test_parts_end_when_the_base_does_not_start(tmp_path):
    turn, relay = turn_part(), relay_part()
    with pytest.raises(ServerError, match="no luck"):
        started(compose([whole(fails="no luck"), turn, relay]), tmp_path)
    assert (turn.open, relay.open) == (0, 0)


def test_all_end_when_they_cannot_be_joined(tmp_path):
    base, turn = whole(), turn_part(ca_file=tmp_path / "nowhere.pem")
    with pytest.raises(FileNotFoundError):
        started(compose([base, turn]), tmp_path)
    assert (base.open, turn.open) == (0, 0)


def test_clients_trust_the_certificates_of_all_parts(tmp_path):
    first, second = tmp_path / "1.pem", tmp_path / "2.pem"
    first.write_text("FIRST")
    second.write_text("SECOND")
    with started(compose([whole(ca_file=first), turn_part(ca_file=second)]), tmp_path) as running:
        assert running.target.ca_file is not None
        assert running.target.ca_file.read_text().split() == ["FIRST", "SECOND"]
