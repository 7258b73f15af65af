import base64
import logging
import re
from pathlib import Path

import pytest

from reference_server.errors import ConfigurationError
from reference_server.iroh_relay.access import Allowlist, Denylist, Everyone, HttpAccess, SharedToken
from reference_server.iroh_relay.config import RelayConfig, SocketAddress, TlsConfig, load
from reference_server.iroh_relay.limits import RateLimit
from tests.reference_server.iroh_relay.support import Node

INTEGRATION_DOCUMENT = """
enable_relay = true
http_bind_addr = "[::]:3340"
enable_stun = false
enable_metrics = false
access = "everyone"
"""


@pytest.fixture
def read(tmp_path):
    def read(text, *, dev=False, environ=None):
        path = tmp_path / "iroh-relay.toml"
        path.write_text(text)
        return load(path, dev=dev, environ=environ or {})

    return read


def test_file_of_the_integration_document(read):
    config = read(INTEGRATION_DOCUMENT)
    assert (config.http_bind_addr, str(config.http_bind_addr)) == (SocketAddress("::", 3340), "[::]:3340")
    assert (config.enable_relay, config.enable_stun, config.enable_metrics) == (True, False, False)
    assert isinstance(config.access, Everyone)


def test_without_a_file_and_with_an_empty_one_the_defaults_hold(read):
    assert load(None) == read("") == RelayConfig()
    assert RelayConfig().http_bind_addr == ("127.0.0.1", 3340)


def test_stun_and_metrics_follow_the_address_of_the_relay(read):
    config = read('http_bind_addr = "127.9.9.9:0"')
    assert config.stun_bind_addr == ("127.9.9.9", 3478)
    assert config.metrics_bind_addr == ("127.9.9.9", 9090)


def test_access_lists(read):
    ids = f'["{Node(1).key.hex()}"]'
    assert read(f"access.allowlist = {ids}").access == Allowlist(frozenset({Node(1).key}))
    assert read(f"access.denylist = {ids}").access == Denylist(frozenset({Node(1).key}))


def test_access_service_and_its_token(read):
    text = 'access.http = { url = "http://127.0.0.1:1/x", bearer_token = "hush" }'
    assert read(text).access == HttpAccess("http://127.0.0.1:1/x", "hush", 5.0)
    other = read(text, environ={"IROH_RELAY_HTTP_BEARER_TOKEN": "louder"}).access
    assert other == HttpAccess("http://127.0.0.1:1/x", "louder", 5.0)
    assert "louder" not in repr(other)


def test_shared_tokens_and_the_variable_that_replaces_them(read):
    text = 'access.shared_token = ["hush", "quiet"]'
    assert read(text).access == SharedToken(("hush", "quiet"))
    other = read(text, environ={"IROH_RELAY_ACCESS_TOKEN": "louder"}).access
    assert other == SharedToken(("louder",))
    assert "louder" not in repr(other)
    with pytest.raises(ConfigurationError, match=r"access\.shared_token: expected a list of tokens"):
        read("access.shared_token = []")


def test_rate_limit(read):
    assert read("[limits.client.rx]\nbytes_per_second = 100").rate_limit == RateLimit(100)
    assert read("limits.client.rx = {bytes_per_second = 100, max_burst_bytes = 7}").rate_limit == RateLimit(
        100, 7
    )


def test_our_own_table(read):
    config = read("[reference_server]\nping_interval = 1\nqueue_frames = 3\nsend_node_gone = true")
    assert (config.limits.ping_interval, config.limits.queue_frames, config.send_node_gone) == (1.0, 3, True)


def test_node_ids_may_be_base32(read):
    key = bytes.fromhex("ae58ff8833241ac82d6ff7611046ed67b5072d142c588d0063e942d9a75502b6")
    word = base64.b32encode(key).decode().rstrip("=")
    for text in (key.hex(), word, word.lower()):
        assert read(f'access.allowlist = ["{text}"]').access == Allowlist(frozenset({key}))


def test_tls_with_a_certificate_of_ones_own(read):
    text = '[tls]\ncert_mode = "Manual"\ncert_dir = "/c"\nhttps_bind_addr = "127.0.0.1:4"\nmanual_key_path = "/k"'
    assert read(text).tls == TlsConfig(SocketAddress("127.0.0.1", 4), Path("/c/default.crt"), Path("/k"))
    assert read(text, dev=True).tls is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("reference_server.ping = 1", "reference_server.ping: unknown key; known here are access_timeout"),
        ('enable_stun = "no"', "enable_stun: expected true or false, found 'no'"),
        ("enable_stun = 0", "enable_stun: expected true or false, found 0"),
        (
            'http_bind_addr = "localhost:1"',
            'http_bind_addr: expected an IP address and a port like "127.0.0.1:3340"',
        ),
        ('http_bind_addr = "::1:1"', "http_bind_addr: expected an IP address"),
        ('http_bind_addr = "127.0.0.1:65536"', "http_bind_addr: expected an IP address"),
        ("http_bind_addr = 3340", "http_bind_addr: expected an IP address"),
        ('access = "nobody"', "access: expected 'everyone' or a table, found 'nobody'"),
        ('access.allowlist = ["00"]', "access.allowlist: expected a list of node IDs"),
        ("access.friends = []", "access.friends: unknown key"),
        ("access = { allowlist = [], denylist = [] }", "access: choose one of"),
        ('access.http = { url = "http://" }', "access.http.url: expected an http or https URL"),
        ('access.http = { url = "http://x:99999" }', "access.http.url: expected an http or https URL"),
        ('limits.accept_conn_limit = "many"', "limits.accept_conn_limit: expected a number"),
        ("limits.accept_conn_burst = 1.5", "limits.accept_conn_burst: expected a whole number from 0"),
        ('http_bind_addr = "127.0.0.1:+1"', "http_bind_addr: expected an IP address"),
        ('access.http = { bearer_token = "t" }', "access.http.url: is missing"),
        (
            "limits.client.rx.bytes_per_second = 0",
            "limits.client.rx.bytes_per_second: expected a whole number from 1",
        ),
        ("limits.client.rx.max_burst_bytes = 1", "limits.client.rx.max_burst_bytes: needs bytes_per_second"),
        ('tls = { cert_mode = "LetsEncrypt" }', 'tls.cert_mode: expected "Manual" or "Reloading"'),
        ("enable_quic_addr_discovery = true", "enable_quic_addr_discovery: needs a table tls"),
        (
            "reference_server.ping_interval = true",
            "reference_server.ping_interval: expected a time in seconds",
        ),
        ("reference_server.queue_frames = 1.5", "reference_server.queue_frames: expected a whole number"),
        ("what is this", "this is not TOML"),
    ],
)
def test_error_names_file_key_and_what_is_expected(read, tmp_path, text, says):
    with pytest.raises(ConfigurationError, match=re.escape(f"{tmp_path / 'iroh-relay.toml'}: {says}")):
        read(text)


def test_unknown_keys_are_passed_over_with_a_warning(read, caplog):
    text = "enable_rely = true\n[mainline]\nenabled = true\n[limits.client.rx]\nburst = 2\n"
    assert read(text) == read("")
    assert [each.getMessage().partition(": ")[2].partition(";")[0] for each in caplog.records] == [
        "limits.client.rx.burst: unknown key, passed over",
        "enable_rely: unknown key, passed over",
        "mainline: unknown key, passed over",
    ]


def test_an_access_service_without_http_lets_nobody_in(read):
    assert read('access.http.url = "file:///etc/passwd"').access == Allowlist(frozenset())


@pytest.mark.parametrize("text", ["[limits]", "[limits.client]", "[limits.client.rx]", "[access.everyone]"])
def test_tables_that_may_be_empty(read, text):
    assert read(text) == read("")


def test_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "nothing.toml")


def test_what_is_not_served_is_warned_about(read, caplog):
    with caplog.at_level(logging.WARNING):
        read(
            "enable_quic_addr_discovery = true\nlimits.accept_conn_limit = 1.0\n"
            'tls = { cert_mode = "Reloading", cert_dir = "/c" }'
        )
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "enable_quic_addr_discovery is not served by this test server",
        "limits.accept_conn_limit is not served by this test server",
    ]


@pytest.mark.parametrize(
    "text",
    [
        'access.http = { url = "http://127.0.0.1:1/x", bearer_token = ["hush"] }',
        'access.shared_token = "hush"',
        'access.shared_token = ["hush", 7]',
    ],
)
def test_no_message_repeats_a_token(read, text):
    with pytest.raises(ConfigurationError, match="found something else") as refused:
        read(text)
    assert "hush" not in str(refused.value)
