import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.iroh_relay.http import HttpConnection, Transport
from reference_server.iroh_relay.routes import captive_portal, relay

DERP = b"GET /relay HTTP/1.1\r\nhost: x\r\nupgrade: iroh derp http\r\n\r\n"
WEBSOCKET = (
    b"GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def ask(path, *headers, method="GET", responder=None):
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{header}\r\n" for header in headers) + "\r\n"
    )
    output = HttpConnection(responder or relay(tls=False)).receive(head.encode(), 0.0)
    answer, _, body = bytes(output.data).partition(b"\r\n\r\n")
    return answer.decode(), body


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/ping", "200 OK", b""),
        ("/ping?x=1", "200 OK", b""),
        ("/generate_204", "204 No Content", b""),
        ("/robots.txt", "200 OK", b"User-agent: *\nDisallow: /\n"),
        ("/relay", "400 Bad Request", b""),
        ("/derp", "400 Bad Request", b""),
        ("/health", "404 Not Found", b"Not Found"),
        ("/ping/", "404 Not Found", b"Not Found"),
    ],
)
def test_endpoint(path, status, body):
    head, got = ask(path)
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert got == body
    assert "Strict-Transport-Security: max-age=63072000; includeSubDomains" in head
    assert "Content-Security-Policy: default-src 'none'; " in head


def test_index_page_and_cors_of_ping():
    for path in ("/", "/index.html"):
        head, body = ask(path)
        assert "text/html; charset=utf-8" in head
        assert b"Iroh Relay" in body
        assert b"iroh.computer" in body
    assert "Access-Control-Allow-Origin: *" in ask("/ping")[0]


def test_other_methods_are_not_found():
    assert ask("/ping", method="POST")[0].startswith("HTTP/1.1 404 ")
    assert ask("/relay", "Upgrade: iroh derp http", method="PUT")[0].startswith("HTTP/1.1 404 ")


@pytest.mark.parametrize(
    ("challenge", "echoed"), [("aB9._-", True), ("x" * 63, True), ("x" * 64, False), ("a b", False)]
)
def test_captive_portal_challenge(challenge, echoed):
    for responder in (relay(tls=False), captive_portal):
        head, _ = ask("/generate_204", f"X-Tailscale-Challenge: {challenge}", responder=responder)
        assert (f"X-Tailscale-Response: response {challenge}" in head) is echoed


def test_with_tls_only_the_plain_port_answers_the_captive_portal_check():
    assert ask("/generate_204", responder=relay(tls=True))[0].startswith("HTTP/1.1 404 ")
    assert ask("/generate_204", responder=captive_portal)[0].startswith("HTTP/1.1 204 ")
    head, _ = ask("/ping", responder=captive_portal)
    assert head.startswith("HTTP/1.1 404 ")
    assert "Strict-Transport-Security" not in head


def test_derp_upgrade_needs_no_connection_header_and_keeps_what_follows():
    output = HttpConnection(relay(tls=False)).receive(DERP + b"\x02\0\0\0", 0.0)
    assert output.data.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Upgrade: iroh derp http\r\n" in output.data
    assert (output.upgrade.transport, output.trailing) == (Transport.DERP, b"\x02\0\0\0")


def test_websocket_upgrade():
    output = HttpConnection(relay(tls=False)).receive(WEBSOCKET, 0.0)
    assert output.upgrade.transport is Transport.WEBSOCKET
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in output.data  # RFC 6455, section 1.3


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        (["Upgrade: Websocket"], None),
        (["Upgrade: websocket"], None),
        (["Upgrade: websocket", "Sec-WebSocket-Key: x"], None),
        (
            ["Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 12"],
            "Sec-WebSocket-Version: 13",
        ),
        (["Upgrade: IROH derp http"], None),
    ],
)
def test_refused_upgrade(headers, says):
    head, body = ask("/relay", *headers)
    assert head.startswith("HTTP/1.1 400 ")
    assert body == b""
    assert says is None or says in head


def test_requests_may_follow_each_other():
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    output = HttpConnection(relay(tls=False)).receive(ping * 3 + DERP, 0.0)
    assert output.data.count(b"HTTP/1.1 200 OK") == 3
    assert output.upgrade.transport is Transport.DERP


def test_head_over_the_limit_is_refused():
    output = HttpConnection(relay(tls=False)).receive(b"GET / HTTP/1.1\r\nX: " + b"x" * 17_000, 0.0)
    assert output.data.startswith(b"HTTP/1.1 431 ")
    assert output.close


@given(
    st.lists(st.one_of(st.binary(max_size=100), st.sampled_from([DERP, WEBSOCKET, DERP[:30]])), max_size=6)
)
@settings(max_examples=150, deadline=None)
def test_hostile_bytes_never_raise(pieces):
    connection = HttpConnection(relay(tls=False))
    for piece in pieces:
        output = connection.receive(piece, 0.0)
        if output.close or output.upgrade is not None:
            break
