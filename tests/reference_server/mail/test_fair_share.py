"""One client, whatever it sends, gets a bounded share of a turn of the loop."""

from __future__ import annotations

import socket
import zlib
from pathlib import Path

from reference_server.mail.imap.session import STEPS
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.imap.dialogue import LOGIN, Dialogue, World
from tests.reference_server.mail.running import BOB, RunningMail, read_until

MILLIONS = b"a CAPABILITY\r\n" * 2_000_000


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


def test_a_turn_has_a_bounded_number_of_commands(tmp_path: Path) -> None:
    for compress, data in ((True, packed(MILLIONS)), (False, b"a NOOP\r\n" * 1000)):
        dialogue = Dialogue(World(tmp_path), compress=compress)
        dialogue.receive(LOGIN + b"a COMPRESS DEFLATE\r\n" * compress)
        dialogue.session.receive_data(data, dialogue.now)
        for turn in range(20):
            dialogue.session.next_event(dialogue.now)
            answers = dialogue.session.data_to_send()
            text = zlib.decompressobj(-15).decompress(answers) if compress and turn == 0 else answers
            assert dialogue.session.busy
            assert text.count(b"a OK") <= STEPS + 1


def test_a_turn_unpacks_a_bounded_number_of_bytes(tmp_path: Path) -> None:
    dialogue = Dialogue(World(tmp_path), compress=True)
    dialogue.receive(LOGIN + b"a COMPRESS DEFLATE\r\n")
    dialogue.session.receive_data(packed(b"a APPEND INBOX {30000000+}\r\n" + bytes(30_000_000)), dialogue.now)
    assert dialogue.session.next_event(dialogue.now) is not None  # memory for the literal
    dialogue.session.answer(True)
    for _turn in range(20):
        assert dialogue.session.next_event(dialogue.now) is None
        assert dialogue.session.busy


def test_others_are_served_while_one_unpacks_a_bomb(start_mail: StartMail) -> None:
    """27 kB of packed CAPABILITY stopped all of mail for 69 s."""
    mail = start_mail(compress=True)
    bomb = packed(MILLIONS)
    assert len(bomb) < 70_000
    with mail.socket("imaps", tls=True) as greedy:
        _log_in(greedy)
        greedy.sendall(b"a COMPRESS DEFLATE\r\n")
        read_until(greedy, b"a OK")
        greedy.sendall(bomb)
        greedy.recv(1)  # it is at work
        with mail.socket("imaps", tls=True) as modest:
            read_until(modest, b"ready\r\n")
            modest.sendall(b'b LOGIN "%s" "first password"\r\nc NOOP\r\n' % BOB.encode())
            read_until(modest, b"c OK")
        greedy.settimeout(0.5)
        assert greedy.recv(1 << 20), "the greedy one has been answered meanwhile, and goes on"


def test_others_are_served_while_one_pipelines_smtp(mail: RunningMail) -> None:
    with mail.socket("submissions", tls=True) as greedy, mail.socket("submissions", tls=True) as modest:
        read_until(modest, b"220 ")
        greedy.sendall(b"EHLO x\r\n" + b"NOOP\r\n" * 3000)
        read_until(greedy, b"250 OK")
        modest.sendall(b"EHLO x\r\n")
        read_until(modest, b"250 HELP")
        seen = b""
        greedy.settimeout(5)
        while seen.count(b"250 OK") < 2000:
            seen += greedy.recv(65536)


def _log_in(client: socket.socket) -> None:
    read_until(client, b"ready\r\n")
    client.sendall(b'0 LOGIN "alice_123@chatmail.test" "first password"\r\n')
    read_until(client, b"0 OK")
