"""Debian's coturn: a TURN server that none of us wrote, for tests of clients and of paths."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.clients.turn.client import TurnClient, TurnClosed, TurnCredentials
from harness.hosts import Host, LocalHost, end_process
from harness.urls import TurnUrl
from harness.waiting import WaitTimeout, wait_until

from .scripted import Tls

__all__ = ["REALM", "SECRET", "Coturn", "coturn", "needs_coturn"]

SECRET = "a secret of these tests"
REALM = "chatmail.test"
BINARY = shutil.which("turnserver")
needs_coturn = pytest.mark.skipif(
    BINARY is None, reason="capability coturn: turnserver is not installed: apt-get install coturn"
)


@dataclass(frozen=True)
class Coturn:
    """A running server; `url` is where it listens by UDP and TCP, `tls_url` by TLS."""

    url: TurnUrl
    tls_url: TurnUrl
    log: Path

    @property
    def tcp_url(self) -> TurnUrl:
        return TurnUrl("tcp", self.url.host, self.url.port)

    def credentials(self, *, valid_for: int = 3600) -> TurnCredentials:
        return TurnCredentials.from_secret(SECRET, int(time.time()) + valid_for)


@contextmanager
def coturn(
    directory: Path, *options: str, tls: Tls | None = None, host: Host | None = None
) -> Iterator[Coturn]:
    """Starts coturn, by default on this machine, on ports that were free a moment ago, and ends it."""
    host = host or LocalHost()
    port, tls_port = _free_port(host), _free_port(host)
    server = Coturn(
        TurnUrl("udp", host.address, port),
        TurnUrl("tls", host.address, tls_port, "turns"),
        directory / "coturn.log",
    )
    certificate = (
        ("--cert", str(tls.ca_file), "--pkey", str(tls.ca_file.with_name("key.pem")))
        if tls
        else ("--no-tls",)
    )
    arguments = [
        *("-n", "--no-cli", "--no-dtls", "--no-rfc5780", "--allow-loopback-peers", "--simple-log", "-v"),
        *(f"--listening-ip={host.address}", f"--relay-ip={host.address}", f"--listening-port={port}"),
        *(f"--tls-listening-port={tls_port}", f"--realm={REALM}"),
        *("--use-auth-secret", f"--static-auth-secret={SECRET}"),
        *(f"--userdb={directory / 'turndb'}", f"--pidfile={directory / 'pid'}", f"--log-file={server.log}"),
        *certificate,
        *options,
    ]
    with (directory / "coturn.stdout").open("wb") as output:
        process = host.popen(
            [str(BINARY), *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: _answers(server, host), "coturn to answer STUN", within=30)
        yield server
    finally:
        end_process(process, patience=5)


def _answers(server: Coturn, host: Host) -> bool:
    try:
        with TurnClient(host, server.url, server.credentials(), within=0.2) as client:
            client.binding()
    except (TurnClosed, WaitTimeout):
        return False
    return True


def _free_port(host: Host) -> int:
    with host.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host.address, 0))
        return int(probe.getsockname()[1])
