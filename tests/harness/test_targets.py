import json
import os
import re
import ssl
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from harness.accounts import Credentials
from harness.hosts import LocalHost
from harness.servers.endpoints import describe
from harness.servers.reference import Reference, SupervisorProcess
from harness.servers.server import Place, ServerError, Wants
from harness.target import Target

ENDPOINTS = {
    "host": "127.77.1.2",
    "domain": "chatmail.test",
    "dialect": "madmail",
    "imaps": 2993,
    "imap": 2143,
    "submissions": 2465,
    "submission": 2587,
    "https": 2443,
    "iroh_relay": "http://127.77.1.2:3340",
    "stun": 3478,
    "ca_file": "/path/ca.pem",
    "control": "/path/control.sock",
}
READY = {"ready": True, "endpoints": ENDPOINTS}


def a_target() -> Target:
    return Target(
        name="test",
        host="127.77.1.2",
        domain="chatmail.test",
        imaps=2993,
        imap=2143,
        submissions=2465,
        submission=2587,
        https=2443,
        ca_file=None,
        dialect="madmail",
    )


def server_that(script: str, tmp_path: Path, **options) -> SupervisorProcess:
    place = Place("127.77.1.2", tmp_path / "state", tmp_path / "logs", **options)
    return SupervisorProcess(LocalHost(), [sys.executable, "-c", script], [], place)


def test_each_account_is_new_and_fits_the_policy():
    target = a_target()
    accounts = [target.new_account() for _ in range(50)]
    assert len({each.address for each in accounts}) == 50
    for each in accounts:
        localpart, domain = each.address.split("@")
        assert (len(localpart), domain) == (9, "chatmail.test")
        assert localpart.isalnum()
        assert len(each.password) >= 9


def test_a_password_is_not_printed():
    credentials = Credentials("someone12@chatmail.test", "geheim-geheim")
    assert "geheim" not in repr(credentials)
    assert "geheim" not in f"{credentials}"


def test_dclogin_has_the_brackets_of_an_address_literal_as_they_are():
    """Cores before 2.50 log in with the address as it stands in the code."""
    code = Credentials("someone12@[127.77.1.2]", "geheim99").dclogin(a_target())
    assert code.startswith("dclogin:someone12@[127.77.1.2]?")


def test_dclogin_carries_every_character_of_the_password():
    credentials = Credentials("someone12@chatmail.test", "ä &=%+?#/:")
    url = urlsplit(credentials.dclogin(a_target()))
    assert (url.scheme, url.path) == ("dclogin", "someone12@chatmail.test")
    settings = {key: value for key, [value] in parse_qs(url.query, strict_parsing=True).items()}
    assert settings == {
        "p": "ä &=%+?#/:",
        "v": "1",
        "ih": "127.77.1.2",
        "ip": "2993",
        "is": "ssl",
        "sh": "127.77.1.2",
        "sp": "2465",
        "ss": "ssl",
        "ic": "3",
    }


def test_tls_is_verified():
    context = a_target().ssl_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_server_is_known_by_its_ready_line_and_ended(tmp_path):
    script = "import json, os, signal; "
    script += f"print(json.dumps({READY!r} | {{'pid': os.getpid()}}), flush=True); signal.pause()"
    with server_that(script, tmp_path) as server:
        target = describe(server.endpoints, "test", frozenset())
        assert (target.host, target.imaps, target.dialect) == ("127.77.1.2", 2993, "madmail")
        pid = json.loads((tmp_path / "logs" / "reference.stdout.log").read_text())["pid"]
        assert server.running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("listeners", "capabilities", "urls"),
    [
        (None, set(), []),
        (["udp://127.77.1.2:3478"], {"turn"}, ["turn:127.77.1.2:3478"]),
        (
            ["udp://127.77.1.2:3478", "tcp://127.77.1.2:3478", "tls://[::1]:5349"],
            {"turn", "turns"},
            ["turn:127.77.1.2:3478", "turn:127.77.1.2:3478?transport=tcp", "turns:[::1]:5349"],
        ),
        (["tls://127.77.1.2:5349"], {"turn", "turns"}, ["turns:127.77.1.2:5349"]),
    ],
)
def test_the_ready_line_says_whether_there_is_turn(listeners, capabilities, urls):
    endpoints = ENDPOINTS if listeners is None else ENDPOINTS | {"turn": listeners}
    target = describe(endpoints, "test", frozenset())
    assert target.capabilities == capabilities
    assert [str(url) for url in target.turn] == urls


def test_the_ready_line_says_how_long_permissions_and_channels_live():
    lifetimes = {"permission": 4, "channel": 8.5}
    target = describe(ENDPOINTS | {"turn_lifetimes": lifetimes}, "test", frozenset())
    assert (target.turn_permission_lifetime, target.turn_channel_lifetime) == (4.0, 8.5)
    standard = describe(ENDPOINTS, "test", frozenset())
    assert (standard.turn_permission_lifetime, standard.turn_channel_lifetime) == (300.0, 600.0)


@pytest.mark.parametrize("listener", ["quic://127.77.1.2:3478", "udp://127.77.1.2", "127.77.1.2:3478"])
def test_an_unknown_listener_is_named(listener):
    with pytest.raises(ValueError, match=re.escape(f"turn: {listener}")):
        describe(ENDPOINTS | {"turn": [listener]}, "test", frozenset())


def test_a_server_that_ends_says_why(tmp_path):
    script = "import sys; sys.stderr.write('mail: unknown key foo\\n'); sys.exit(2)"
    with pytest.raises(ServerError, match=r"(?s)exit code 2 before it was ready.*unknown key foo"):
        server_that(script, tmp_path)


def test_a_command_that_is_none_is_named(tmp_path):
    place = Place("127.77.1.2", tmp_path / "state", tmp_path / "logs")
    with pytest.raises(ServerError, match=r"does not start: /nowhere/server: no such file"):
        SupervisorProcess(LocalHost(), ["/nowhere/server"], [], place)


def test_a_server_that_is_never_ready_is_ended(tmp_path):
    with pytest.raises(ServerError, match=r"(?s)not ready within 0\.5 s.*\(nothing\)"):
        server_that("import signal; signal.pause()", tmp_path, within=0.5)


@pytest.mark.parametrize("line", ["hello", "[]", '{"ready": false}', '{"ready": true}', "null"])
def test_another_line_is_shown_as_it_is(line, tmp_path):
    with pytest.raises(ServerError, match="instead of a ready line"):
        server_that(f"print({line!r}, flush=True)", tmp_path)


def started(endpoints, tmp_path):
    line = json.dumps({"ready": True, "endpoints": endpoints})
    command = [sys.executable, "-c", f"import signal; print({line!r}, flush=True); signal.pause()"]
    place = Place("127.77.1.2", tmp_path / "state", tmp_path / "logs")
    return Reference(command).start(LocalHost(), place, Wants())


def test_a_missing_endpoint_is_named(tmp_path):
    endpoints = {key: value for key, value in ENDPOINTS.items() if key != "imaps"}
    with pytest.raises(ServerError, match="without a usable 'imaps'"):
        started(endpoints, tmp_path)


def test_a_control_socket_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(ServerError, match="is ready, but no answer from the control socket /path/control"):
        started(ENDPOINTS, tmp_path)
