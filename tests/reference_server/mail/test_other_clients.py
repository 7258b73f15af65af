"""IMAP clients that we did not write, over real TLS: `imap_tools` and `aioimaplib`."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator

import aioimaplib
import imap_tools
import pytest

from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.running import ALICE, BOB, DEADLINE, PASSWORD, RunningMail


@pytest.fixture
def box(mail: RunningMail) -> Iterator[imap_tools.BaseMailBox]:
    mail.create(BOB)
    client = imap_tools.MailBox(mail.host, mail.ports["imaps"], timeout=DEADLINE, ssl_context=mail.tls)
    with client.login(ALICE, PASSWORD) as box:
        yield box


def test_imap_tools_reads_and_flags(mail: RunningMail, box: imap_tools.BaseMailBox) -> None:
    mail.send(ALICE, sender=BOB, marker="first")
    mail.send(ALICE, sender=BOB, marker="second")
    box.folder.set("INBOX")
    messages = list(box.fetch(mark_seen=False))
    assert [message.from_ for message in messages] == [BOB, BOB]
    assert [message.headers["message-id"][0] for message in messages] == [
        "<first@chatmail.test>",
        "<second@chatmail.test>",
    ]
    assert messages[0].obj.get_content_type() == "multipart/encrypted"
    assert box.uids(imap_tools.AND(from_=BOB, date=datetime.date.today())) == ["1", "2"]
    box.flag("2", [imap_tools.MailMessageFlags.SEEN, "Work"], True)
    assert box.uids(imap_tools.AND(seen=True, keyword="Work")) == ["2"]
    assert [message.uid for message in box.fetch(imap_tools.AND(seen=False), headers_only=True)] == ["1"]
    assert next(iter(box.fetch(imap_tools.AND(uid="2"), bulk=True))).flags == ("\\Seen", "\\Recent", "Work")


def test_imap_tools_folders(mail: RunningMail, box: imap_tools.BaseMailBox) -> None:
    mail.send(ALICE, sender=BOB)
    box.folder.create("Archive/Old")
    assert [folder.name for folder in box.folder.list()] == ["Archive", "Archive/Old", "INBOX"]
    assert box.folder.exists("Archive")
    box.folder.set("INBOX")
    box.copy("1", "Archive")
    box.move("1", "Archive/Old")
    assert box.folder.status("INBOX")["MESSAGES"] == 0
    assert box.folder.status("Archive")["MESSAGES"] == 1
    box.append(b"Subject: mine\r\n\r\nbody\r\n", "Archive", flag_set=["\\Draft"])
    box.folder.rename("Archive", "Kept")
    box.folder.set("Kept")
    assert [message.subject for message in box.fetch()] == ["[...]", "mine"]
    box.delete("1")
    assert box.uids() == ["2"]
    box.folder.set("INBOX")
    box.folder.delete("Kept/Old")
    box.folder.delete("Kept")
    box.folder.subscribe("INBOX", False)
    assert list(box.folder.list(subscribed_only=True)) == []


def test_imap_tools_idle(mail: RunningMail, box: imap_tools.BaseMailBox) -> None:
    box.folder.set("INBOX")
    with box.idle as idle:
        mail.send(ALICE, sender=BOB)
        assert idle.poll(timeout=DEADLINE) == [b"* 1 EXISTS", b"* 1 RECENT"]


def test_imap_tools_authenticates_with_sasl(mail: RunningMail) -> None:
    client = imap_tools.MailBox(mail.host, mail.ports["imaps"], timeout=DEADLINE, ssl_context=mail.tls)
    result = client.client.authenticate("PLAIN", lambda _: f"\0{ALICE}\0{PASSWORD}".encode())
    assert result[0] == "OK"
    client.client.logout()


@pytest.mark.parametrize("compress", [False, True])
def test_aioimaplib(start_mail: StartMail, compress: bool) -> None:
    mail = start_mail(compress=compress)
    mail.create(BOB)

    async def talk() -> None:
        client = aioimaplib.IMAP4_SSL(mail.host, mail.ports["imaps"], timeout=DEADLINE, ssl_context=mail.tls)
        await client.wait_hello_from_server()
        assert (await client.login(ALICE, PASSWORD)).result == "OK"
        await client.protocol.capability()
        assert client.has_capability("IDLE") and client.has_capability("MOVE")
        assert client.has_capability("COMPRESS=DEFLATE") is compress
        assert (await client.id(name="test")).result == "OK"
        assert (await client.namespace()).lines[0] == b'(("" "/")) NIL NIL'
        await client.select()
        waiting = await client.idle_start(timeout=DEADLINE)
        await asyncio.to_thread(mail.send, ALICE, sender=BOB)
        assert await client.wait_server_push(DEADLINE) == [b"1 EXISTS", b"1 RECENT"]
        client.idle_done()
        assert (await asyncio.wait_for(waiting, DEADLINE)).result == "OK"
        found = await client.uid("fetch", "1", "(BODYSTRUCTURE ENVELOPE BODY.PEEK[2])")
        assert found.result == "OK"
        assert any(b"BEGIN PGP MESSAGE" in line for line in found.lines)
        assert (await client.append(b"Subject: x\r\n\r\n", "INBOX")).result == "OK"
        assert (await client.create("Saved")).result == "OK"
        assert (await client.uid("move", "1:2", "Saved")).result == "OK"
        assert (await client.getquotaroot("INBOX")).result == "OK"
        assert (await client.status("Saved", "(MESSAGES)")).lines[0] == b"Saved (MESSAGES 2)"
        assert (await client.logout()).result == "OK"
        client.protocol.transport.abort()  # the library leaves it to the garbage collector

    asyncio.run(talk())
