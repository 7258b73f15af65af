"""The allowance of a look: what leaves is counted, and what would be too much does not leave."""

from __future__ import annotations

import socket
import threading

import pytest

from harness.diagnosis.diagnosis import diagnose
from harness.diagnosis.text import render
from harness.hosts import LocalHost
from harness.look import look as looking
from harness.look.host import LookingHost
from harness.look.look import look_at
from harness.look.packets import MOST_PACKETS, Allowance, OutOfPackets
from harness.report.run import Run
from harness.servers.registry import server_of
from harness.stage.session import open_session


def test_datagrams_are_counted_one_by_one():
    allowance = Allowance(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(0.2)
        host = LookingHost(LocalHost(), allowance)
        with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"one", peer.getsockname())
            sender.connect(peer.getsockname())
            sender.send(b"two")
            with pytest.raises(OutOfPackets):
                sender.sendall(b"three")
        assert [peer.recv(10), peer.recv(10)] == [b"one", b"two"]
        with pytest.raises(TimeoutError):
            peer.recv(10)
    assert allowance.left == 0


def test_the_segments_of_a_connection_are_counted():
    allowance = Allowance(1000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sink = threading.Thread(target=read_all, args=(listener,))
        sink.start()
        host = LookingHost(LocalHost(), allowance)
        with host.connect("127.0.0.1", listener.getsockname()[1], within=5) as connection:
            before = allowance.left
            connection.sendall(bytes(500_000))
            connection.shutdown(socket.SHUT_WR)
            sink.join()
    assert before - allowance.left > 500_000 // 65536


def test_no_connection_is_begun_with_too_little():
    allowance = Allowance(4)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        with pytest.raises(OutOfPackets):
            LookingHost(LocalHost(), allowance).connect("127.0.0.1", listener.getsockname()[1], within=5)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_connection_that_is_refused_costs_one_packet():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    allowance = Allowance(10)
    with pytest.raises(ConnectionRefusedError):
        LookingHost(LocalHost(), allowance).connect("127.0.0.1", port, within=5)
    assert allowance.left == 9


@pytest.mark.parametrize("most", [3, 30, 60, 90, 120])
def test_what_does_not_fit_is_named_and_is_no_fault_of_the_server(most, tmp_path, monkeypatch):
    monkeypatch.setattr(looking, "MOST_PACKETS", most)
    with open_session(Run(tmp_path / "run"), kind=server_of("reference")) as session:
        look = look_at(session.target, LocalHost())
    found = diagnose(look)
    assert found.causes == (), found.steps
    assert look.packets is not None and look.packets <= most
    assert look.cut_short
    assert not found.is_healthy
    assert "takes more packets than a look may send" in " ".join(render(found).split())


def test_a_healthy_server_needs_less_than_there_is(tmp_path):
    with open_session(Run(tmp_path / "run"), kind=server_of("reference")) as session:
        look = look_at(session.target, LocalHost())
    assert look.cut_short == ()
    assert look.packets is not None and 0 < look.packets <= MOST_PACKETS
    assert f"Sent: {look.packets} packets." in render(diagnose(look))


def read_all(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while connection.recv(65536):
            pass
