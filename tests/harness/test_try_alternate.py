"""A TURN server that sends its clients to another one (300 Try Alternate, RFC 8489, section 10): followed once."""

from __future__ import annotations

import time

import pytest

from harness.clients.turn.client import TurnClient, TurnCredentials, TurnError
from harness.clients.turn.messages import FormatError, read_plain_address
from harness.hosts import LocalHost
from harness.steps.turn_exchange import allocated

from .coturn import SECRET, coturn, needs_coturn


def client_of(url):
    credentials = TurnCredentials.from_secret(SECRET, int(time.time()) + 3600)
    return TurnClient(LocalHost(), url, credentials)


@needs_coturn
def test_the_other_server_is_used(tmp_path):
    (tmp_path / "other").mkdir()
    with coturn(tmp_path / "other") as other:
        alternate = f"--alternate-server={other.url.host}:{other.url.port}"
        with coturn(tmp_path, alternate) as first, allocated(client_of(first.url)) as peer:
            assert peer.client.server == other.url
            assert peer.relayed[0] == other.url.host


@needs_coturn
def test_a_loop_is_named(tmp_path):
    (tmp_path / "other").mkdir()
    with coturn(tmp_path / "other", "--alternate-server=127.0.0.1:9") as other:
        alternate = f"--alternate-server={other.url.host}:{other.url.port}"
        with (
            coturn(tmp_path, alternate) as first,
            pytest.raises(TurnError, match=r"which sends them on to 127\.0\.0\.1:9: clients follow once"),
            allocated(client_of(first.url)),
        ):
            pass


@pytest.mark.parametrize("value", [b"", b"\0\x01\x0d\x96", b"\0\x02\x0d\x96\x7f\0\0\x01", b"\0\x01\x0d"])
def test_what_is_no_address_is_none(value):
    with pytest.raises(FormatError):
        read_plain_address(value)


def test_an_address_is_read_as_it_stands():
    assert read_plain_address(b"\0\x01\x0d\x96\x7f\0\0\x01") == ("127.0.0.1", 3478)
