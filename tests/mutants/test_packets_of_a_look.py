"""However a server is deployed, the doctor sends no more than it may: counted at the edge of its machine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from harness.diagnosis.diagnosis import Diagnosis, diagnose
from harness.evidence.edges import Edges
from harness.look.look import look_at
from harness.look.packets import MOST_PACKETS
from harness.target import Impact
from mutants.deployments.declaration import REFERENCE, Fault
from mutants.deployments.run import as_a_stranger_sees_it, disturbed
from mutants.deployments.site import NAME, Site

OPEN = 20
"""Segments on their way when a connection is stopped: acknowledgements of what the other side goes on to send."""
NOWHERE = tuple(f"5.9.0.{each}" for each in range(100, 107))


def two_addresses_and_no_certificate_that_holds(site: Site) -> None:
    site.serve_at_second()
    site.names.set(NAME, site.own, site.second)
    site.show_certificate(site.private.issue(NAME))


def nine_addresses(site: Site) -> None:
    site.serve_at_second()
    site.names.set(NAME, site.own, site.second, *NOWHERE)


def imap_that_never_ends(site: Site) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"* OK ready\r\n")
            while True:
                writer.write(b"* 1 EXISTS\r\n" * 1000)
                await writer.drain()
                await asyncio.sleep(0)  # what is written to a connection that has ended waits for nothing
        finally:
            writer.transport.abort()

    site.put_front(993, talk, site.authority.issue(NAME))


def look(arrange, directory: Path) -> tuple[Diagnosis, int]:
    """The doctor's answer, and the packets that left its machine."""
    with disturbed(Fault(arrange.__name__, "", (), {}, (), arrange=arrange), REFERENCE, directory) as (
        site,
        server,
    ):
        operator = site.lab.server("operator")
        target = replace(as_a_stranger_sees_it(site, server), impact=Impact.LIVE_SAFE)
        with Edges([operator]) as edges:
            found = diagnose(look_at(target, operator))
            edges.settle(within=5)
            counted = edges.now()[operator.name].tx
    return found, sum(count.packets for flow, count in counted.rows.items() if flow.protocol != "rest")


@pytest.mark.parametrize(
    "arrange", [two_addresses_and_no_certificate_that_holds, nine_addresses], ids=lambda each: each.__name__
)
def test_no_more_leaves_than_may(arrange, tmp_path):
    found, sent = look(arrange, tmp_path)
    assert found.look.packets is not None
    assert sent <= found.look.packets <= MOST_PACKETS
    if arrange is nine_addresses:
        told = " ".join(found.look.not_looked_at)
        assert "a look sends no more than 200 packets" in told
        assert found.look.name is not None
        named = [address for address in found.look.name.addresses if address in told]
        assert len(named) >= 5  # of the nine, in the order in which the name server gave them


def test_a_server_that_sends_without_end_is_left(tmp_path):
    found, sent = look(imap_that_never_ends, tmp_path)
    assert sent <= MOST_PACKETS + OPEN
    assert found.causes == ()
    assert not found.is_healthy
