"""The HTTPS side: autoconfig, the ways to a new account, and other protocols on the same port."""

from __future__ import annotations

import http.client
import imaplib
import json
import re
import smtplib
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from reference_server.certificates import DevelopmentCertificate
from reference_server.mail import accounts
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.running import ALICE, DEADLINE, PASSWORD, RunningMail, read_all, read_until

AUTOCONFIG = "/.well-known/autoconfig/mail/config-v1.1.xml"


def request(
    mail: RunningMail, method: str, path: str, tls: ssl.SSLContext | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    client = http.client.HTTPSConnection(
        mail.host, mail.ports["https"], context=tls or mail.tls, timeout=DEADLINE
    )
    try:
        client.request(method, path)
        response = client.getresponse()
        return response, response.read()
    finally:
        client.close()


def test_new_accounts_of_one_source_have_a_limit(
    start_mail: StartMail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "NEW_ACCOUNTS_AT_ONCE", 2)
    mail = start_mail(new_accounts_per_minute=1)
    assert request(mail, "POST", "/new")[0].status == 200
    mail.imap(ALICE).logout()  # the first log-in makes an account as well
    response, body = request(mail, "POST", "/new")
    assert (response.status, response.headers["Retry-After"]) == (429, "60")
    assert "reason" in json.loads(body)
    with pytest.raises(imaplib.IMAP4.error):
        mail.imap("bob.45678@chatmail.test")
    mail.imap(ALICE).logout()  # whoever has one goes on
    mail.stop()
    unlimited = start_mail(new_accounts_per_minute=0)
    assert [request(unlimited, "POST", "/new")[0].status for _ in range(4)] == [200] * 4


def test_autoconfig_names_the_ports(mail: RunningMail) -> None:
    response, body = request(mail, "GET", AUTOCONFIG + "?emailaddress=x%40chatmail.test")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/xml")
    provider = ElementTree.fromstring(body).find("emailProvider")
    assert provider is not None
    found = {
        (server.get("type"), server.findtext("socketType"), int(server.findtext("port") or 0))
        for server in provider
        if server.get("type")
    }
    assert found == {
        ("imap", "SSL", mail.ports["imaps"]),
        ("imap", "STARTTLS", mail.ports["imap"]),
        ("smtp", "SSL", mail.ports["submissions"]),
        ("smtp", "STARTTLS", mail.ports["submission"]),
    }
    response, body = request(mail, "HEAD", AUTOCONFIG)
    assert (response.status, body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 500
    assert request(mail, "POST", AUTOCONFIG)[0].status == 405


@pytest.mark.parametrize("path", ["/new", "/cgi-bin/newemail.py"])
def test_new_account_comes_with_a_login_code(mail: RunningMail, path: str) -> None:
    response, body = request(mail, "POST", path)
    answer: dict[str, Any] = json.loads(body)
    assert response.status == 200
    url = urllib.parse.urlsplit(answer["dclogin_url"])
    options = dict(urllib.parse.parse_qsl(url.query))
    assert (url.scheme, url.path) == ("dclogin", answer["email"])
    assert options["p"] == answer["password"]
    assert (int(options["ip"]), int(options["sp"])) == (mail.ports["imaps"], mail.ports["submissions"])
    assert options["ic"] == "3"
    mail.imap(answer["email"], options["p"]).logout()
    assert request(mail, "GET", path)[0].status == 405


def test_with_a_real_certificate_a_browser_is_sent_to_the_app(
    start_mail: StartMail, certificate: DevelopmentCertificate
) -> None:
    mail = start_mail(tls_ca=None)
    tls = ssl.create_default_context(cafile=certificate.ca_file)
    response, _body = request(mail, "GET", "/new", tls)
    assert (response.status, response.headers["Location"]) == (301, "dcaccount:https://chatmail.test/new")
    _response, body = request(mail, "POST", "/new", tls)
    assert set(json.loads(body)) == {"email", "password"}


def offering(mail: RunningMail, *protocols: str) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=mail.ports["ca_file"])
    tls.set_alpn_protocols(list(protocols))
    return tls


def test_alpn_chooses_imap_or_smtp_on_the_web_port(mail: RunningMail) -> None:
    imap = imaplib.IMAP4_SSL(
        mail.host, mail.ports["https"], ssl_context=offering(mail, "imap"), timeout=DEADLINE
    )
    imap.login(ALICE, PASSWORD)
    imap.logout()
    smtp = smtplib.SMTP_SSL(mail.host, mail.ports["https"], context=offering(mail, "smtp"), timeout=DEADLINE)
    smtp.login(ALICE, PASSWORD)
    smtp.quit()
    assert request(mail, "GET", AUTOCONFIG, offering(mail, "http/1.1"))[0].status == 200
    assert request(mail, "GET", AUTOCONFIG, offering(mail, "unheard-of"))[0].status == 200


def test_a_connection_that_never_says_what_it_wants_ends_with_the_service(mail: RunningMail) -> None:
    silent = socket.create_connection((mail.host, mail.ports["https"]), timeout=DEADLINE)
    chosen = offering(mail, "imap").wrap_socket(
        socket.create_connection((mail.host, mail.ports["https"]), timeout=DEADLINE),
        server_hostname=mail.host,
    )
    assert chosen.recv(100).startswith(b"* OK ")
    mail.stop()
    for sock in (silent, chosen):
        sock.close()
    assert all(record["closed"] for record in mail.ledger.snapshot()["connections"])


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("target", ["/new", "https://chatmail.test/new", "HTTP://chatmail.test:443/new?x"])
def test_a_target_may_name_the_server(mail: RunningMail, version: str, target: str) -> None:
    with mail.socket("https", tls=True) as sock:
        sock.sendall(
            f"POST {target} HTTP/{version}\r\nhost: chatmail.test\r\nCONTENT-LENGTH: 0\r\n\r\n".encode()
        )
        answer = read_all(sock)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"email"' in answer


def test_a_client_that_waits_with_its_content_is_told_to_go_on(mail: RunningMail) -> None:
    with mail.socket("https", tls=True) as sock:
        sock.sendall(b"POST /new HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert read_all(sock).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "BREW"])
@pytest.mark.parametrize("target", ["/", "/new", "*", "https://chatmail.test", AUTOCONFIG, "/%00", "//new"])
def test_every_request_has_an_answer_and_head_no_body(mail: RunningMail, method: str, target: str) -> None:
    with mail.socket("https", tls=True) as sock:
        sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: chatmail.test\r\n\r\n".encode())
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 [234]\d\d ", head)
    assert (body == b"") is (method == "HEAD")


@pytest.fixture
def relay() -> Iterator[socket.socket]:
    """What listens where the iroh relay would."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE)
        yield listening


def taken(relay: socket.socket) -> socket.socket:
    sock, _ = relay.accept()
    sock.settimeout(DEADLINE)
    return sock


def test_the_way_to_the_iroh_relay(start_mail: StartMail, relay: socket.socket) -> None:
    """Both ways, byte for byte, in pieces, and to the end of either."""
    mail = start_mail(relay_address=relay.getsockname())
    request = b"GET /relay?x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nmore"
    with mail.socket("https", tls=True) as client:
        client.sendall(request[:30])
        client.sendall(request[30:])
        with taken(relay) as sock:
            assert read_until(sock, b"more") == request
            sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhello")
            assert read_until(client, b"hello").startswith(b"HTTP/1.1 101 ")
            payload = bytes(range(256)) * 4096 + b"end"
            sender = threading.Thread(target=client.sendall, args=(payload,))
            sender.start()
            assert read_until(sock, b"end") == payload
            sender.join()
        assert read_all(client) == b""
    with mail.socket("https", tls=True) as client:
        client.sendall(b"HEAD /ping HTTP/1.0\r\n\r\n")
        with taken(relay) as sock:
            assert read_until(sock, b"\r\n\r\n") == b"HEAD /ping HTTP/1.0\r\n\r\n"
            client.close()
            assert read_all(sock) == b""


def test_a_relay_that_does_not_answer_is_a_bad_gateway(start_mail: StartMail) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        response, body = request(start_mail(relay_address=bound.getsockname()), "GET", "/generate_204")
    assert (response.status, json.loads(body)) == (502, {"reason": "The iroh relay does not answer"})


@pytest.mark.parametrize("path", ["/relay", "/ping", "/generate_204"])
def test_without_a_relay_there_is_no_way_to_one(mail: RunningMail, path: str) -> None:
    assert request(mail, "GET", path)[0].status == 404


def test_no_other_path_leads_to_the_relay(start_mail: StartMail, relay: socket.socket) -> None:
    mail = start_mail(relay_address=relay.getsockname())
    for path in ("/relays", "/ping/", "/Ping", "/generate_204/x", "/new/../ping"):
        assert request(mail, "GET", path)[0].status == 404
