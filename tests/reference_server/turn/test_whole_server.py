"""What METADATA says about TURN is what TURN accepts, in a whole server."""

from __future__ import annotations

import imaplib
import time

import pytest

from harness.hosts import LocalHost
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.session import loopback_place
from reference_server.errors import ConfigurationError
from reference_server.turn.stun import Attribute
from reference_server.turn_secret import read_secrets, turn_line
from tests.reference_server.turn.running import Wire


def test_the_line_of_metadata():
    line = turn_line("127.0.0.1:3478", "test-secret", 86400, clock=lambda: 1758650868 - 86400 + 0.9)
    assert line == "127.0.0.1:3478:1758650868:nkfvRIGUcx0N/jq/StNLPajpLZE="


def test_a_secret_is_what_stands_in_its_line(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(" با فاصله \x0c\u2028 \nsecond\r\n\n".encode())
    assert read_secrets(file) == [" با فاصله \x0c\u2028 ", "second"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xe4\n"])
def test_a_file_without_a_secret_is_an_error(tmp_path, content):
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"cannot read a secret from {file}"):
        read_secrets(file)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    place = loopback_place(directory / "state", directory / "logs")
    with Reference().start(LocalHost(), place, Wants(turn_ttl=5000)) as server:
        yield server


def turn_metadata(target):
    """The value that a client reads after it has logged in."""
    account = target.new_account()
    with imaplib.IMAP4_SSL(target.host, target.imaps, ssl_context=target.ssl_context()) as client:
        client.login(account.address, account.password)
        name = client._new_tag().decode()
        client.send(f'{name} GETMETADATA "" /shared/vendor/deltachat/turn\r\n'.encode())
        assert client.readline().startswith(b'* METADATA "" (/shared/vendor/deltachat/turn {')
        return client.readline().decode().rstrip(")\r\n")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_credentials_of_metadata_allocate(server, transport):
    host, port, username, password = turn_metadata(server.target).split(":", 3)
    assert host == server.target.host
    assert 4900 < int(username) - time.time() <= 5000
    with Wire((host, int(port)), transport=transport) as client:
        client.username, client.password, client.realm = username, password, server.target.domain
        reply = client.allocate()
        assert reply.signed
        assert reply.relayed.host == host
        assert reply.address(Attribute.XOR_MAPPED_ADDRESS) == client.five_tuple.client


def test_another_password_is_refused(server):
    host, port, username, password = turn_metadata(server.target).split(":", 3)
    with Wire((host, int(port))) as client:
        client.username, client.realm = username, server.target.domain
        client.password = password.swapcase()
        assert client.allocate().error == 401
        client.username, client.password = str(int(username) + 1), password
        assert client.allocate().error == 401
