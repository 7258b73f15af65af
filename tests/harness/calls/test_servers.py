"""The guard between core's ICE servers and an agent. No core is asked here: without TURN it would ask public DNS."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.calls.peers import IceServer
from harness.calls.servers import (
    ForeignIceServer,
    IceServerError,
    NoIceServer,
    TurnOffer,
    ice_servers,
    judge_ice_servers,
    transport_override,
)
from harness.clients.core.core import Account
from harness.clients.core.eras import CoreUnsupported, era_of
from harness.clients.turn.client import TurnError
from harness.hosts import LocalHost

OFFER = TurnOffer.parse("127.0.0.1:3478:1758650868:nkfvRIGUcx0N/jq/StNLPajpLZE=")
OWN = IceServer(("turn:127.0.0.1:3478",), OFFER.username, OFFER.password)
ADDRESSES = {"127.0.0.1"}


def test_the_value_of_metadata():
    assert (OFFER.host, OFFER.port, OFFER.username) == ("127.0.0.1", 3478, "1758650868")
    assert OFFER.credentials.password == "nkfvRIGUcx0N/jq/StNLPajpLZE="
    assert "nkfv" not in f"{OFFER} {OFFER!r} {OWN!r}"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "host:3478:1758650868",
        "host:0:1:x",
        "host:99999:1:x",
        "[::1]:3478:1:x",
        "host:3478:bob:x",
        " host:3478:1:x",
        "host:3478:1:x\n",
    ],
)
def test_other_values_are_refused(value):
    with pytest.raises(TurnError, match="HOST:PORT:EXPIRY:PASSWORD"):
        TurnOffer.parse(value)


def test_a_refused_value_keeps_its_password():
    with pytest.raises(TurnError) as refused:
        TurnOffer.parse("host:3478:bob:the password")
    assert "the password" not in str(refused.value)


def test_the_targets_own_server_is_right():
    judge_ice_servers([OWN], OFFER, ADDRESSES)
    several = IceServer(("turn:127.0.0.1:3478", "turn:127.0.0.2:3478"), OWN.username, OWN.credential)
    judge_ice_servers([several], OFFER, {"127.0.0.1", "127.0.0.2"})


@pytest.mark.parametrize(
    "url",
    [
        "turn:turn.delta.chat:3478",
        "stun:nine.testrun.org:3478",
        "turn:116.202.233.236:3478",
        "turn:127.0.0.2:3478",
        "turn:127.0.0.1:3479",
        "no url at all",
    ],
)
def test_anybody_elses_server_is_foreign_and_named(url):
    with pytest.raises(ForeignIceServer, match=f"{url} \\(foreign\\)"):
        judge_ice_servers([OWN, IceServer((url,), OWN.username, OWN.credential)], OFFER, ADDRESSES)


def test_other_credentials_are_not_those_of_metadata():
    with pytest.raises(ForeignIceServer, match="username public instead of 1758650868"):
        judge_ice_servers([IceServer(OWN.urls, "public", "public")], OFFER, ADDRESSES)


def test_credentials_that_core_read_a_moment_later_are_those_of_metadata():
    later = str(int(OFFER.username) + 2)
    judge_ice_servers([IceServer(OWN.urls, later, "another HMAC")], OFFER, ADDRESSES)
    for username, credential in [(later, None), (OFFER.username, "another HMAC"), ("1758737268", "x")]:
        with pytest.raises(ForeignIceServer, match="METADATA did not give"):
            judge_ice_servers([IceServer(OWN.urls, username, credential)], OFFER, ADDRESSES)


@pytest.mark.parametrize("servers", [[], [IceServer(())]])
def test_no_server_at_all_is_a_failure_of_its_own(servers):
    words = r"METADATA gave 127.0.0.1:3478:1758650868:\.\.\., core's log says failed to parse TURN"
    with pytest.raises(NoIceServer, match=words):
        judge_ice_servers(servers, OFFER, ADDRESSES, ["failed to parse TURN"])


def an_account(servers: list[Any], *log: str, version: str = "v2.65.0") -> tuple[Account, list[str]]:
    """An account that keeps the order in which it was used."""
    order: list[str] = []

    def wait_for(kind: str, *_args: Any, **_fields: Any) -> None:
        order.append(kind)

    def asked() -> Any:
        order.append("ice_servers")
        return servers.pop(0) if servers and isinstance(servers[0], list) else servers

    account = SimpleNamespace(
        core=SimpleNamespace(changed=threading.Condition(), era=era_of(version), version=version),
        wait_for=wait_for,
        client=SimpleNamespace(ice_servers=asked),
        log=[SimpleNamespace(text=text) for text in log],
    )
    return cast(Account, account), order


def test_core_is_asked_after_idle():
    entry = {"urls": ["turn:127.0.0.1:3478"], "username": OFFER.username, "credential": OFFER.password}
    account, order = an_account([entry])
    assert ice_servers(account, OFFER, LocalHost()) == (OWN,)
    assert order == ["ImapInboxIdle", "ice_servers"]


def test_a_core_that_has_not_read_metadata_yet_is_asked_again():
    """2.35 says that it watches a folder beside the inbox before it reads METADATA."""
    entry = {"urls": ["turn:127.0.0.1:3478"], "username": OFFER.username, "credential": OFFER.password}
    account, order = an_account([[], [], [entry]])
    assert ice_servers(account, OFFER, LocalHost()) == (OWN,)
    assert order == ["ImapInboxIdle", *3 * ["ice_servers"]]


def test_a_core_without_calls_is_not_asked():
    account, order = an_account([], version="v2.12.0")
    with pytest.raises(CoreUnsupported, match=r"core v2\.12\.0 has no calls: they came with 2\.15\.0"):
        ice_servers(account, OFFER, LocalHost())
    assert order == []


def test_what_core_falls_back_to_never_comes_back():
    entry = {"urls": ["turn:turn.delta.chat:3478"], "username": "public", "credential": "public"}
    account, _ = an_account([entry])
    with pytest.raises(ForeignIceServer, match=r"turn:turn\.delta\.chat:3478"):
        ice_servers(account, OFFER, LocalHost())


def test_the_lines_of_cores_log_that_matter_are_shown():
    account, _ = an_account([], "opened inbox", "failed to fetch METADATA: timeout")
    with pytest.raises(NoIceServer, match=r"log says failed to fetch METADATA: timeout$"):
        ice_servers(account, OFFER, LocalHost())


def test_a_name_that_does_not_resolve_is_said_before_core_is_asked():
    account, order = an_account([])
    offer = TurnOffer.parse("no-such-name.invalid:3478:1758650868:x")
    with pytest.raises(IceServerError, match=r"no-such-name\.invalid is no name here"):
        ice_servers(account, offer, Unresolving())
    assert order == []


class Unresolving(LocalHost):
    def addresses_of(self, name: str) -> frozenset[str]:
        raise OSError(f"{name}: unknown")


def test_the_same_credentials_over_another_transport():
    [tcp] = transport_override([OWN], "tcp")
    assert (tcp.urls, tcp.credential) == (("turn:127.0.0.1:3478?transport=tcp",), OWN.credential)
    [tls] = transport_override([OWN], "tls", 5349)
    assert tls.urls == ("turns:127.0.0.1:5349?transport=tcp",)
