import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.iroh_relay.counters import RelayCounters
from reference_server.iroh_relay.http.http1 import HttpConnection, Transport
from reference_server.iroh_relay.http.metrics import responder as metrics
from reference_server.iroh_relay.http.routes import captive_portal, relay
from reference_server.iroh_relay.stun import StunCounters

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


@pytest.mark.parametrize(
    ("path", "responder", "status", "length"),
    [
        ("/ping", relay(tls=False), 200, 0),
        ("/ping", relay(tls=True), 200, 0),
        ("/robots.txt", relay(tls=False), 200, 26),
        ("/nowhere", relay(tls=False), 404, 9),
        ("/relay", relay(tls=False), 404, 9),
        ("/nowhere", captive_portal, 404, 9),
    ],
)
def test_head_is_get_without_a_body(path, responder, status, length):
    head, body = ask(path, "Upgrade: iroh derp http", method="HEAD", responder=responder)
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert f"Content-Length: {length}" in head
    assert body == b""


def test_head_of_the_captive_portal_check_and_of_metrics():
    assert ask("/generate_204", method="HEAD", responder=captive_portal)[0].startswith("HTTP/1.1 204 ")
    head, body = ask("/metrics", method="HEAD", responder=metrics(RelayCounters(), StunCounters()))
    assert head.startswith("HTTP/1.1 200 ")
    assert body == b""


def test_a_connection_goes_on_after_head():
    connection = HttpConnection(relay(tls=False))
    request = b"HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = [
        bytes(connection.receive(each, 0.0).data) for each in (request, request.replace(b"HEAD", b"GET"))
    ]
    assert all(each.startswith(b"HTTP/1.1 200 OK\r\n") for each in answers)


@pytest.mark.parametrize("target", ["http://x/ping", "HTTP://[2001:db8::1]:3340/ping?a=b", "https://x/ping"])
def test_a_target_may_have_scheme_and_host(target):
    assert ask(target)[0].startswith("HTTP/1.1 200 ")


def test_a_target_of_scheme_and_host_alone_is_the_index_page():
    assert b"Iroh Relay" in ask("http://x")[1]


@given(st.sampled_from(["GET", "HEAD", "OPTIONS", "CONNECT", "POST", "PRI"]), st.binary(max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_request_line_breaks_a_connection(method, target):
    """Bytes of others get an answer, or end their own connection."""
    for version in (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"):
        connection = HttpConnection(relay(tls=False))
        line = method.encode() + b" " + target + b" " + version
        output = connection.receive(line + b"\r\nHost: x\r\n\r\n", 0.0)
        assert output.close or output.data or output.upgrade or b"\n" in target


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
        head, _ = ask("/generate_204", f"X-Iroh-Challenge: {challenge}", responder=responder)
        assert (f"X-Iroh-Response: response {challenge}" in head) is echoed


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
    assert output.upgrade
    assert (output.upgrade.transport, output.trailing) == (Transport.DERP, b"\x02\0\0\0")


def test_websocket_upgrade():
    output = HttpConnection(relay(tls=False)).receive(WEBSOCKET, 0.0)
    assert output.upgrade
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


V1_KEY = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13")
V1 = ("Upgrade: websocket", *V1_KEY)


def upgrade_v1(*headers, path="/relay"):
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{each}\r\n" for each in (*V1, *headers)) + "\r\n"
    return HttpConnection(relay(tls=False)).receive(head.encode(), 0.0)


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        (["iroh-relay-v2, iroh-relay-v1"], Transport.V2),
        (["iroh-relay-v1,iroh-relay-v2"], Transport.V2),
        (["iroh-relay-v1", "iroh-relay-v2"], Transport.V2),
        (["  iroh-relay-v1 , iroh-relay-v9"], Transport.V1),
    ],
)
def test_highest_known_subprotocol_is_chosen_whatever_the_order(offer, chosen):
    output = upgrade_v1(*[f"Sec-WebSocket-Protocol: {each}" for each in offer])
    assert output.upgrade
    assert output.upgrade.transport is chosen
    assert b"HTTP/1.1 101 " in output.data
    assert f"Sec-WebSocket-Protocol: {chosen.value}\r\n".encode() in output.data
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in output.data


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (V1, b"no known protocol in Sec-WebSocket-Protocol"),
        (V1_KEY, b"missing or wrong header Upgrade"),
        (("Upgrade: iroh derp http", *V1_KEY), b"missing or wrong header Upgrade"),
        (("Upgrade: websocket", V1_KEY[1]), b"missing header Sec-WebSocket-Key"),
        (("Upgrade: websocket", V1_KEY[0]), b"unsupported Sec-WebSocket-Version"),
    ],
)
def test_refused_offer_of_subprotocols_has_a_reason(headers, reason):
    head, body = ask("/relay", *headers, "Sec-WebSocket-Protocol: iroh-relay-v9")
    assert head.startswith("HTTP/1.1 400 ")
    assert "Content-Type: text/plain" in head
    assert body.startswith(reason)
    assert ("Sec-WebSocket-Version: 13" in head) is (b"Version" in reason)


@pytest.mark.parametrize(
    ("path", "headers", "token"),
    [
        ("/relay", ["Authorization: Bearer hush"], "hush"),
        ("/relay", ["Authorization: bearer  hush"], "hush"),
        ("/relay?token=hu%20sh", [], "hu sh"),
        ("/relay?token=other", ["Authorization: Bearer hush"], "hush"),
        ("/relay?x=1&token=hush", ["Authorization: Basic abc"], "hush"),
        ("/relay", [], None),
    ],
)
def test_access_token_is_taken_from_the_header_or_the_query(path, headers, token):
    upgrade = upgrade_v1("Sec-WebSocket-Protocol: iroh-relay-v1", *headers, path=path).upgrade
    assert upgrade.token == token
    assert "hush" not in repr(upgrade)


def test_healthz_says_ok():
    head, body = ask("/healthz")
    assert head.startswith("HTTP/1.1 200 ")
    assert json.loads(body).keys() == {"status", "version", "git_hash"}
    assert json.loads(body)["status"] == "ok"


def test_requests_may_follow_each_other():
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    output = HttpConnection(relay(tls=False)).receive(ping * 3 + DERP, 0.0)
    assert output.data.count(b"HTTP/1.1 200 OK") == 3
    assert output.upgrade
    assert output.upgrade.transport is Transport.DERP


def test_a_client_that_waits_with_its_content_is_told_to_go_on():
    connection = HttpConnection(relay(tls=False))
    head = b"GET /ping HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    assert connection.receive(head, 0.0).data == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.receive(b"abc", 0.0).data.startswith(b"HTTP/1.1 200 OK")
    assert HttpConnection(relay(tls=False)).receive(head + b"abc", 0.0).data.count(b"HTTP/1.1 ") == 1


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


@pytest.mark.parametrize("request_bytes", [DERP, WEBSOCKET])
def test_an_upgrade_in_http_1_0_is_ignored(request_bytes):
    """RFC 9110, section 7.8: proxies that speak 1.0 could not pass it on."""
    output = HttpConnection(relay(tls=False)).receive(request_bytes.replace(b"HTTP/1.1", b"HTTP/1.0"), 0.0)
    assert output.upgrade is None
    assert output.data.startswith(b"HTTP/1.1 400 ")
