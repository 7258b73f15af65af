"""Two servers that mail each other: everything arrives once, or is returned once."""

from __future__ import annotations

import email
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from harness.waiting import wait_until
from reference_server.mail.federation.bounces import delivery_report
from reference_server.mail.outgoing import AtOneServer, Settlement
from reference_server.mail.settings import Dialect, Limits, OutgoingTls
from reference_server.mail.store import Store
from reference_server.mail.strategies import Strategies
from tests.reference_server.mail.federation.conftest import StartServer
from tests.reference_server.mail.federation.support import FakeServer, reads_mail, speaks
from tests.reference_server.mail.federation.zone import Zone
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import DEADLINE, RunningMail
from tests.reference_server.mail.test_submission import stored

ALICE, BOB, CAROL = "alice1234@_one.test", "bob456789@_two.test", "carol6789@_one.test"
FAKE = "user@fake.test"

StartFake = Callable[..., FakeServer]


@pytest.fixture
def start_fake(zone: Zone, peer_port: int, addresses: Iterator[str]) -> Iterator[StartFake]:
    """Another server, of the domain fake.test unless its host is said."""
    fakes = []

    def start(serve: Callable[[socket.socket, int], None], name: str = "fake.test") -> FakeServer:
        host = next(addresses)
        zone.set(name, "A", host)
        fakes.append(FakeServer(host, peer_port, serve))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.close()


def wait_for(mail: RunningMail, kind: str, number: int = 1) -> list[dict[str, object]]:
    wait_until(lambda: len(mail.events(kind)) >= number, f"{number} times {kind}", within=DEADLINE)
    return mail.events(kind)


def wait_until_queue_is_empty(mail: RunningMail) -> None:
    with closing(sqlite3.connect(mail.database)) as database:
        count = "SELECT (SELECT count(*) FROM outgoing) + (SELECT count(*) FROM outgoing_mails)"
        wait_until(lambda: database.execute(count).fetchone() == (0,), "an empty queue", within=DEADLINE)


def report(mail: RunningMail, user: str = ALICE) -> Message:
    """The one mail of the user, which says that another was not delivered."""
    [content] = stored(mail, user)
    parsed = email.message_from_bytes(content)
    assert parsed.get_content_type() == "multipart/report"
    return parsed


def test_mail_goes_both_ways_and_arrives_as_it_was(start_server: StartServer) -> None:
    one, two = start_server("_one.test"), start_server("_two.test")
    one.create(ALICE, CAROL)
    two.create(BOB)
    sent = one.send(BOB, CAROL, sender=ALICE)
    back = two.send(ALICE, sender=BOB, marker="answer")
    wait_for(two, "message_from_outside")
    wait_for(one, "message_from_outside")
    assert stored(two, BOB) == [sent]
    assert stored(one, CAROL) == [sent]
    assert stored(one, ALICE) == [back]
    wait_until_queue_is_empty(one)


@pytest.mark.parametrize("dialect", Dialect)
def test_servers_whose_domain_is_an_address_mail_each_other(
    start_server: StartServer, dialect: Dialect, tmp_path: Path
) -> None:
    one, two = (
        start_server("literal", dialect=dialect, state=tmp_path / "one"),
        start_server("_two.test", dialect=dialect),
    )
    alice = f"alice1234@[{one.host}]"
    one.create(alice)
    two.create(BOB)
    sent = one.send(BOB, sender=alice)
    wait_for(two, "message_from_outside")
    assert stored(two, BOB) == [sent]
    back = two.send(alice, sender=BOB)
    wait_for(one, "message_from_outside")
    assert stored(one, alice) == [back]


def test_a_thousand_recipients_get_it_once_each(start_server: StartServer) -> None:
    one, two = start_server("_one.test"), start_server("_two.test")
    one.create(ALICE)
    names = [f"user{number:05}@_two.test" for number in range(1000)]
    with closing(Store(two.database)) as store:
        for name in names:
            store.create_account(name, "no password", limit=5000)
    one.send(*names, sender=ALICE)
    wait_until_queue_is_empty(one)
    with closing(sqlite3.connect(two.database)) as database:
        counted = database.execute("SELECT count(*), count(DISTINCT mailbox) FROM messages").fetchone()
    assert counted == (1000, 1000)


def test_who_does_not_exist_is_told_to_the_sender_once(start_server: StartServer) -> None:
    one, two = start_server("_one.test"), start_server("_two.test")
    one.create(ALICE)
    two.create(BOB)
    one.send(BOB, "nobody123@_two.test", sender=ALICE, marker="first")
    wait_for(one, "message_returned")
    told = report(one)
    parts: Any = told.get_payload()
    _text, status, header = parts
    assert [block["Final-Recipient"] for block in status.get_payload()[1:]] == ["rfc822; nobody123@_two.test"]
    assert "550 5.1.1" in status.as_string()
    assert "<first@chatmail.test>" in header.as_string()
    assert len(stored(two, BOB)) == 1
    wait_until_queue_is_empty(one)


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("TXT", '"nothing else"', ""),
        ("MX", "0 .", "takes no mail"),
        ("MX", "10 _one.test.", "leads back to this server"),
    ],
)
def test_a_domain_that_takes_no_mail(
    start_server: StartServer, zone: Zone, kind: str, value: str, why: str
) -> None:
    one = start_server("_one.test", queue_lifetime=0.5)
    one.create(ALICE)
    zone.set("fake.test", kind, value)
    one.send(FAKE, "user@gone.test", sender=ALICE)
    returned = wait_for(one, "message_returned", 2)
    reasons = {str(each["recipients"]): str(each["reason"]) for each in returned}
    assert "there is no gone.test" in reasons["['user@gone.test']"]
    assert why in reasons[f"['{FAKE}']"]
    wait_until_queue_is_empty(one)


@pytest.mark.parametrize(
    "ill",
    [
        speaks("450 4.3.2 not now"),
        speaks("554 5.3.2 no"),
        speaks("nonsense"),
        speaks(),
        lambda connection, number: None,
        speaks("220 x", "250 x", "250 x", "250 x", "354 go"),
        speaks("220 x", "250 x", "250 x", "250 x", "354 go", "451 disk full"),
        speaks("220 x", "250-x\n250 STARTTLS", "220 go", "no TLS"),
    ],
    ids=["4xx", "554", "nonsense", "silence", "cut", "hangs in DATA", "disk full", "STARTTLS broken"],
)
def test_a_server_that_is_ill_gets_the_mail_when_it_is_well(
    start_server: StartServer,
    start_fake: StartFake,
    ill: Callable[[socket.socket, int], None],
) -> None:
    taken: list[bytes] = []
    well = reads_mail(taken)
    one = start_server("_one.test", outgoing_tls=OutgoingTls.MAY)
    one.create(ALICE)
    start_fake(lambda connection, number: (ill if number < 3 else well)(connection, number))
    one.send(FAKE, sender=ALICE)
    wait_for(one, "message_sent")
    assert len(taken) == 1
    assert stored(one, ALICE) == []
    wait_until_queue_is_empty(one)


def test_a_mail_that_nobody_takes_is_returned_at_the_end(
    start_server: StartServer, start_fake: StartFake
) -> None:
    one = start_server("_one.test", queue_lifetime=1.0)
    one.create(ALICE)
    fake = start_fake(speaks("450 4.3.2 not now"))
    one.send(FAKE, sender=ALICE)
    wait_for(one, "message_returned")
    assert "450 4.3.2 not now" in report(one).as_string() or "no STARTTLS" in report(one).as_string()
    assert fake.connections >= 1  # how often in that second follows from the machine
    wait_until_queue_is_empty(one)


def test_a_report_to_somebody_who_is_gone_ends_there(start_server: StartServer, zone: Zone) -> None:
    """There is no report of a report, and nobody else gets it."""
    one = start_server("_one.test")
    one.create(ALICE, CAROL)
    zone.failing.add("fake.test")
    one.send(FAKE, sender=ALICE)
    wait_for(one, "message_postponed")
    one.stop()
    with closing(Store(one.database)) as store:
        store.delete_account(ALICE)
    zone.failing.clear()
    zone.set("fake.test", "MX", "0 .")
    one = start_server("_one.test")
    wait_until_queue_is_empty(one)
    assert one.events("message_sent") == []
    one.create(ALICE)
    assert stored(one, ALICE) == stored(one, CAROL) == []


def test_a_certificate_that_nobody_vouches_for(start_server: StartServer) -> None:
    """Chatmail verifies, but for names that begin with an underscore."""
    one, two = start_server("_one.test"), start_server("two.test")
    one.create(ALICE)
    two.create("bob456789@two.test")
    one.send("bob456789@two.test", sender=ALICE)
    [postponed, *_] = wait_for(one, "message_postponed")
    assert "certificate that is not trusted" in str(postponed["reason"])
    one.stop()
    one = start_server("_one.test", outgoing_ca=Path(two.ports["ca_file"]))
    wait_for(one, "message_sent")
    assert len(stored(two, "bob456789@two.test")) == 1


def test_the_next_host_is_asked_when_the_first_fails(
    start_server: StartServer, start_fake: StartFake, zone: Zone
) -> None:
    taken: list[bytes] = []
    one = start_server("_one.test", outgoing_tls=OutgoingTls.MAY)
    one.create(ALICE)
    zone.set("fake.test", "MX", "10 ill.fake.test.", "20 well.fake.test.")
    ill = start_fake(speaks("421 too busy"), "ill.fake.test")
    start_fake(reads_mail(taken), "well.fake.test")
    one.send(FAKE, sender=ALICE)
    wait_for(one, "message_sent")
    assert (len(taken), ill.connections) == (1, 1)


def test_a_slow_server_is_in_nobody_elses_way(start_server: StartServer, start_fake: StartFake) -> None:
    one, two = start_server("_one.test", limits=Limits()), start_server("_two.test")
    one.create(ALICE)
    two.create(BOB)
    start_fake(speaks())
    for number in range(6):
        one.send(FAKE, sender=ALICE, marker=f"slow-{number}")
    one.send(BOB, sender=ALICE)
    wait_for(two, "message_from_outside")


def test_a_mail_is_once_in_the_mailbox_though_its_answer_was_lost(
    start_server: StartServer, start_fake: StartFake
) -> None:
    """Between the servers stands one that forwards everything but the first answer to a mail."""
    one, two = start_server("_one.test"), start_server("_two.test")
    one.create(ALICE)
    two.create(BOB)
    fake = start_fake(lambda client, number: forward(client, two, lose_answer=number == 1), "_two.test")
    one.send(BOB, sender=ALICE)
    wait_for(one, "message_sent")
    assert fake.connections == 2
    assert len(two.events("message_from_outside")) == 2
    assert len(stored(two, BOB)) == 1


def forward(client: socket.socket, server: RunningMail, *, lose_answer: bool) -> None:
    """Everything that the client says and hears; or until the server has the mail, which nobody is told."""
    with socket.create_connection((server.host, server.ports["smtp"])) as onward:

        def upward() -> None:
            with suppress(OSError):  # the other thread has closed it
                while data := client.recv(65536):
                    onward.sendall(data)
                onward.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=upward, daemon=True)
        thread.start()
        before = len(server.events("message_from_outside"))
        while data := onward.recv(65536):
            if lose_answer and len(server.events("message_from_outside")) > before:
                client.shutdown(socket.SHUT_RDWR)
                return
            client.sendall(data)


def test_mail_in_the_queue_is_sent_after_the_next_start(
    start_server: StartServer, start_fake: StartFake, zone: Zone
) -> None:
    taken: list[bytes] = []
    one = start_server("_one.test", outgoing_tls=OutgoingTls.MAY)
    one.create(ALICE)
    zone.failing.add("fake.test")
    one.send(FAKE, sender=ALICE)
    wait_for(one, "message_postponed")
    one.stop()
    start_fake(reads_mail(taken))
    zone.failing.clear()
    one = start_server("_one.test", outgoing_tls=OutgoingTls.MAY)
    wait_for(one, "message_sent")
    assert len(taken) == 1


def test_a_full_disk_loses_nothing_and_doubles_nothing(start_server: StartServer) -> None:
    class Full(Store):
        full = False

        def deliver(self, messages: object) -> None:
            if Full.full:
                raise sqlite3.OperationalError("database or disk is full")
            super().deliver(messages)  # type: ignore[arg-type]

    one = start_server("_one.test", strategies=Strategies(make_store=Full))
    two = start_server("_two.test", strategies=Strategies(make_store=Full))
    one.create(ALICE)
    two.create(BOB)
    Full.full = True
    with one.smtp(ALICE) as client:
        client.mail(ALICE)
        assert client.rcpt(BOB)[0] == 250
        assert client.data(encrypted_message(ALICE))[0] == 451
    Full.full = False
    one.send(BOB, sender=ALICE)
    Full.full = True
    wait_for(one, "message_postponed")
    Full.full = False
    wait_for(one, "message_sent")
    assert len(stored(two, BOB)) == 1


def test_a_disk_that_is_full_when_the_answer_comes_sends_nothing_twice(
    start_server: StartServer, start_fake: StartFake
) -> None:
    class Full(Store):
        failures = 0

        def settle(self, sent: AtOneServer, became: Settlement) -> int | None:
            Full.failures += 1
            if Full.failures < 3:
                raise sqlite3.OperationalError("database or disk is full")
            return super().settle(sent, became)

    taken: list[bytes] = []
    one = start_server("_one.test", outgoing_tls=OutgoingTls.MAY, strategies=Strategies(make_store=Full))
    one.create(ALICE)
    start_fake(reads_mail(taken))
    one.send(FAKE, sender=ALICE)
    wait_for(one, "message_sent")
    assert (len(taken), Full.failures) == (1, 3)
    wait_until_queue_is_empty(one)


def test_a_queue_that_is_full_takes_no_more(start_server: StartServer, zone: Zone) -> None:
    one = start_server("_one.test", limits=Limits(queue=1))
    one.create(ALICE)
    zone.failing.add("fake.test")
    one.send(FAKE, sender=ALICE)
    with one.smtp(ALICE) as client:
        client.mail(ALICE)
        assert client.rcpt(FAKE)[0] == 452
        assert client.rcpt(ALICE)[0] == 250


@pytest.mark.parametrize(
    "address", ["user@fake..test", "user@[1.2.3]", "user@1.2.3.4", '"a b"@fake.test', "user"]
)
def test_addresses_that_cannot_be_sent_to_are_refused_at_once(
    start_server: StartServer, address: str
) -> None:
    one = start_server("_one.test")
    one.create(ALICE)
    with one.smtp(ALICE) as client:
        client.mail(ALICE)
        assert 500 <= client.rcpt(address)[0] < 600


def test_a_report_says_nothing_that_others_could_have_put_in() -> None:
    reason = "550 no\r\n\r\n--report-x\r\nContent-Type: text/html\r\n\r\n<script>"
    content = delivery_report("one.test", ALICE, {BOB: reason}, b"From: a\r\n\r\nsecret", now=0, identity="x")
    assert content.count(b"\r\n--report-x") == 4
    assert b"secret" not in content
    assert email.message_from_bytes(content)["From"] == "<mailer-daemon@one.test>"
