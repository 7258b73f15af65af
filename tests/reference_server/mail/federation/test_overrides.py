"""Where an operator sends mail for a domain: to another host, or to an exchanger by `POST /mxdeliv`."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.servers.certificates import issue
from reference_server.mail.federation.overrides import BadOverride, Overrides
from tests.reference_server.mail.federation.conftest import StartServer
from tests.reference_server.mail.federation.support import FakeServer
from tests.reference_server.mail.federation.test_two_servers import ALICE, report, wait_for
from tests.reference_server.mail.running import RunningMail
from tests.reference_server.mail.test_admin import RIGHT, TOKEN, post

SOMEBODY = "user@fake.test"
StartExchanger = Callable[..., str]


@pytest.fixture
def start_exchanger(addresses: Iterator[str], peer_port: int) -> Iterator[StartExchanger]:
    """A program that answers each request with the next of these status lines; its URL."""
    fakes = []

    def start(*answers: bytes, asked: list[bytes], tls: ssl.SSLContext | None = None) -> str:
        def serve(plain: socket.socket, number: int) -> None:
            with tls.wrap_socket(plain, server_side=True) if tls else plain as connection:
                request = connection.makefile("rb")
                head = b"".join(iter(request.readline, b"\r\n"))
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                asked.append(head + request.read(length))
                connection.sendall(answers[min(number, len(answers)) - 1])

        host = next(addresses)
        fakes.append(FakeServer(host, peer_port, serve))
        return f"{'https' if tls else 'http'}://{host}:{peer_port}"

    yield start
    for fake in fakes:
        fake.close()


@pytest.fixture
def one(start_server: StartServer, tmp_path: Path) -> RunningMail:
    (tmp_path / "token").write_text(TOKEN)
    mail = start_server("_one.test", admin_token_file=tmp_path / "token")
    mail.create(ALICE)
    return mail


def override(mail: RunningMail, key: str, target: str) -> int:
    body = {"lookup_key": key, "target_host": target}
    asked = {"method": "POST", "resource": "/admin/dns", "headers": RIGHT, "body": body}
    status: int = post(mail, "/api/admin", json.dumps(asked).encode())[1]["status"]
    return status


def test_an_exchanger_gets_the_mail_once_for_each_recipient(
    one: RunningMail, start_exchanger: StartExchanger
) -> None:
    asked: list[bytes] = []
    assert override(one, "FAKE.test", start_exchanger(b"HTTP/1.1 200 OK\r\n\r\n", asked=asked)) == 201
    one.send(SOMEBODY, "other@fake.test", sender=ALICE, marker="by-exchanger")
    wait_for(one, "message_sent")
    assert [each.partition(b"\r\n")[0] for each in asked] == [b"POST /mxdeliv HTTP/1.1"] * 2
    assert all(f"X-Mail-From: {ALICE}\r\n".encode() in each and b"by-exchanger" in each for each in asked)
    assert {each.partition(b"X-Mail-To: ")[2].split()[0] for each in asked} == {
        SOMEBODY.encode(),
        b"other@fake.test",
    }


@pytest.mark.parametrize(
    "ill",
    [
        b"",
        b"nonsense\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"x" * 100_000,
    ],
    ids=["silence", "nonsense", "502", "404", "endless line"],
)
def test_an_exchanger_that_is_ill_gets_the_mail_when_it_is_well(
    one: RunningMail, start_exchanger: StartExchanger, ill: bytes
) -> None:
    asked: list[bytes] = []
    override(one, "fake.test", start_exchanger(ill, b"HTTP/1.1 200 OK\r\n\r\n", asked=asked))
    one.send(SOMEBODY, sender=ALICE)
    wait_for(one, "message_sent")
    assert len(asked) == 2


def test_a_mail_that_an_exchanger_refuses_is_returned(
    one: RunningMail, start_exchanger: StartExchanger
) -> None:
    asked: list[bytes] = []
    override(one, "fake.test", start_exchanger(b"HTTP/1.1 403 Forbidden\r\n\r\n", asked=asked))
    one.send(SOMEBODY, sender=ALICE)
    wait_for(one, "message_returned")
    assert "HTTP 403" in report(one).as_string()
    assert len(asked) == 1


def test_an_exchanger_at_an_address_needs_no_certificate_that_somebody_vouches_for(
    one: RunningMail, start_exchanger: StartExchanger, tmp_path: Path
) -> None:
    made = issue(tmp_path, ["somebody.else"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.chain, made.key)
    asked: list[bytes] = []
    override(one, "fake.test", start_exchanger(b"HTTP/1.1 200 OK\r\n\r\n", asked=asked, tls=tls))
    one.send(SOMEBODY, sender=ALICE)
    wait_for(one, "message_sent")
    assert len(asked) == 1


def test_a_host_is_asked_in_place_of_the_domains_own(one: RunningMail, start_server: StartServer) -> None:
    start_server("_two.test")
    override(one, "gone.test", "_two.test")  # a name, which is looked up
    one.send("bob456789@gone.test", sender=ALICE)
    [returned] = wait_for(one, "message_returned")
    # The other server was asked, and has no such domain.
    assert "Relay access denied" in str(returned["reason"])


@pytest.mark.parametrize("key", ["", " ", "two words", "a\r\nb", "x" * 300, "."])
def test_what_is_no_domain_is_refused(key: str) -> None:
    with pytest.raises(BadOverride, match="lookup_key"):
        Overrides().set(key, "mx.example")


@pytest.mark.parametrize(
    "target",
    [
        *("", " ", "two words", "a\r\nX-Evil: 1", "ftp://relay.example", "https://", "http://:80"),
        *(
            "http://relay.example:0",
            "http://relay.example:99999",
            "https://relay.example/a\r\nb",
            "http://[::1",
        ),
    ],
)
def test_what_mail_cannot_be_sent_to_is_refused(target: str) -> None:
    with pytest.raises(BadOverride, match="target_host"):
        Overrides().set("other.example", target)


def test_there_is_an_end_of_overrides() -> None:
    overrides = Overrides()
    for number in range(1000):
        overrides.set(f"d{number}.example", "mx.example")
    overrides.set("d1.example", "other.example")
    with pytest.raises(BadOverride, match="1000 overrides"):
        overrides.set("one-more.example", "mx.example")


def test_an_address_is_the_same_with_and_without_brackets() -> None:
    overrides = Overrides()
    overrides.set("[203.0.113.5]", "203.0.113.9")
    found = overrides.find("203.0.113.5")
    assert found is not None
    assert (found.domain, found.exchanger) == ("[203.0.113.9]", None)
    overrides.delete("203.0.113.5")
    assert overrides.find("[203.0.113.5]") is None
