"""A place, a host and clients for servers that really run."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.clients.turn.client import TurnClient, TurnCredentials
from harness.doors.catalogue import all_checks
from harness.hosts import Host
from harness.report.records import Record
from harness.report.run import Run
from harness.servers.registry import server_of
from harness.servers.server import Place, Running, Wants
from harness.stage.check import recording
from harness.stage.session import loopback_place, open_session
from harness.urls import TurnUrl

__all__ = ["SECRET", "loopback", "outcomes", "own_processes", "turn_works"]

SECRET = "a-secret-of-this-test"
PAYLOADS = [b"\xff" + bytes([number]) * 100 for number in range(4)]


def loopback(directory: Path) -> Place:
    return loopback_place(directory / "state", directory / "logs")


def turn_works(host: Host, url: TurnUrl, running: Running, secret: str = SECRET) -> None:
    """Two clients allocate at it and reach each other, every byte of it."""
    tls = ssl.create_default_context(cafile=running.ca_file) if url.transport == "tls" else None
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(TurnClient(host, url, credentials(secret), tls=tls, within=10)) for _ in "12"
        )
        here, there = one.allocate(), other.allocate()
        one.permit(there.relayed[0])
        other.permit(here.relayed[0])
        for payload in PAYLOADS:
            one.send(there.relayed, payload)
        assert [other.receive(within=10).data for _ in PAYLOADS] == PAYLOADS


def credentials(secret: str) -> TurnCredentials:
    return TurnCredentials.from_secret(secret, int(time.time()) + 3600)


def own_processes(directory: Path) -> list[int]:
    """Those whose command line or environment names this directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            named = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in named:
            found.append(int(process.name))
    return found


def outcomes(server: str, directory: Path, *names: str, wants: Wants | None = None) -> dict[str, Record]:
    """Records of these checks against that server."""
    checks = {each.name: each for each in all_checks()}
    records: list[Record] = []
    run = Run(directory / f"run-{secrets.token_hex(4)}")

    def keep(record: Record, _files: Sequence[Path]) -> None:
        records.append(record)

    with (
        open_session(run, kind=server_of(server), wants=wants) as session,
        recording(keep, run="test", door="test"),
    ):
        for name in names:
            checks[name].run(session.stage(name))
    return {each.check: each for each in records}
