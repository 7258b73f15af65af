"""A relay in a thread of its own, for tests over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from reference_server.iroh_relay.config import RelayConfig, SocketAddress
from reference_server.iroh_relay.hub import exactly_once
from reference_server.iroh_relay.service import RelayService
from reference_server.iroh_relay.settings import RelaySettings
from tests.reference_server.iroh_relay.support import DEADLINE

ANY_PORT = SocketAddress("127.0.0.1", 0)


@contextlib.contextmanager
def serve(*, delivery=exactly_once, **settings):
    """Yields its port and its ledger."""
    config = RelayConfig(
        **{"http_bind_addr": ANY_PORT, "enable_stun": False, "enable_metrics": False, **settings}
    )
    service = RelayService(RelaySettings(ledger=True), config=config, delivery=delivery)
    started, ports, loop = threading.Event(), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run():
        ports.append(await service.start())
        started.set()
        await stop.wait()
        await service.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert started.wait(DEADLINE)
        yield int(ports[0]["iroh_relay"].rpartition(":")[2]), service.ledger
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE)
        loop.close()


def events(ledger, kind):
    return [event for event in ledger.snapshot()["events"] if event["kind"] == kind]
