"""Iroh relays that are wrong in one way. Each function runs one until a signal."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reference_server.iroh_relay.__main__ import main
from reference_server.iroh_relay.client import Client
from reference_server.iroh_relay.config import RelayConfig
from reference_server.iroh_relay.framing import HEADER, frame_spans
from reference_server.iroh_relay.http import routes
from reference_server.iroh_relay.http.http1 import Answer, Request, Responder, Upgrade
from reference_server.iroh_relay.keys import KEY_LENGTH
from reference_server.iroh_relay.service import RelayService
from reference_server.iroh_relay.signatures import Ed25519Signatures
from reference_server.iroh_relay.v035.hub import Hub035
from reference_server.iroh_relay.v1.hub import HubV1
from reference_server.ledger import Ledger

from .wire import ProxyWithoutUpgrade

__all__ = [
    "accepting_every_signature",
    "behind_proxy_without_upgrade",
    "claiming_nothing",
    "claiming_too_much",
    "delivering_twice",
    "dropping_for_second_client",
    "dropping_large_frames",
    "forgetting_idle_clients",
    "naming_a_wrong_source",
    "never_freeing_places",
    "never_promoting",
    "refusing_second_login",
    "without_ping",
]

LARGE = 1000
"""Bytes of a frame that a careless buffer does not hold."""
PLACES = 2
RIGHT_SIGNATURES = Ed25519Signatures()


def delivering_twice(arguments: Sequence[str]) -> int:
    def twice(_source: bytes, _destination: bytes, run: memoryview) -> bytes:
        return bytes(run) * 2

    return main(arguments, partial(RelayService, delivery=twice))


class DropForEverySecond:
    """The first node that is sent something gets it, the second gets nothing, and so on in turn."""

    def __init__(self) -> None:
        self._order: dict[bytes, int] = {}

    def __call__(self, _source: bytes, destination: bytes, run: memoryview) -> bytes:
        place = self._order.setdefault(destination, len(self._order))
        return b"" if place % 2 else bytes(run)


def dropping_for_second_client(arguments: Sequence[str]) -> int:
    return main(arguments, partial(RelayService, delivery=DropForEverySecond()))


def naming_a_wrong_source(arguments: Sequence[str]) -> int:
    def from_its_receiver(_source: bytes, destination: bytes, run: memoryview) -> bytes:
        data = bytearray(run)
        for start, _stop in frame_spans(run):
            key = start + HEADER.size
            data[key : key + KEY_LENGTH] = destination
        return bytes(data)

    return main(arguments, partial(RelayService, delivery=from_its_receiver))


def dropping_large_frames(arguments: Sequence[str]) -> int:
    def only_small(_source: bytes, _destination: bytes, run: memoryview) -> bytes:
        return b"".join(run[start:stop] for start, stop in frame_spans(run) if stop - start <= LARGE)

    return main(arguments, partial(RelayService, delivery=only_small))


class ForgetfulHub(Hub035):
    """A client that was silent for one ping interval keeps its connection and loses its place in the table."""

    def _ping(self, client: Client, now: float) -> None:
        super()._ping(client, now)
        self._registered.pop(client.key, None)


def forgetting_idle_clients(arguments: Sequence[str]) -> int:
    return main(arguments, partial(RelayService, hub_035=ForgetfulHub))


class NeverPromotingHub(HubV1):
    def _promote(self, newest: Client) -> None:
        """Leave the place of a connection that has gone empty, although an older one is there."""


def never_promoting(arguments: Sequence[str]) -> int:
    return main(arguments, partial(RelayService, hub_v1=NeverPromotingHub))


def without_ping(arguments: Sequence[str]) -> int:
    def answers(*, tls: bool) -> Responder:
        right = routes.relay(tls=tls)

        def respond(request: Request) -> Answer | Upgrade:
            return routes.NOT_FOUND if request.path == "/ping" else right(request)

        return respond

    return main(arguments, partial(RelayService, answers=answers))


class AnySignature:
    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        del public_key, message, signature
        return True


def accepting_every_signature(arguments: Sequence[str]) -> int:
    return main(arguments, partial(RelayService, signatures=AnySignature()))


class PlacesNeverFreed:
    """There are places for two clients, and who leaves keeps its place."""

    def __init__(self) -> None:
        self._taken = 0

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if self._taken == PLACES or not RIGHT_SIGNATURES.verify(public_key, message, signature):
            return False
        self._taken += 1
        return True


def never_freeing_places(arguments: Sequence[str]) -> int:
    return main(arguments, partial(RelayService, signatures=PlacesNeverFreed()))


class EachKeyOnce:
    """Takes the second log-in of a key for a replay of the first, and remembers the keys on disk."""

    def __init__(self, seen: Path) -> None:
        self._seen = seen

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        known = self._seen.read_text().split() if self._seen.exists() else []
        if public_key.hex() in known or not RIGHT_SIGNATURES.verify(public_key, message, signature):
            return False
        self._seen.write_text("\n".join([*known, public_key.hex()]))
        return True


def refusing_second_login(arguments: Sequence[str]) -> int:
    config = Path(arguments[arguments.index("--config-path") + 1])
    return main(arguments, partial(RelayService, signatures=EachKeyOnce(config.with_name("seen-keys"))))


class ExaggeratingLedger(Ledger):
    """Claims bytes of connections that were not: `factor` times what they were."""

    factor = 2

    def snapshot(self) -> dict[str, Any]:
        found = super().snapshot()
        for connection in found["connections"]:
            connection["bytes_in"] *= self.factor
            connection["bytes_out"] *= self.factor
        return found


class SilentLedger(ExaggeratingLedger):
    factor = 0


def claiming_too_much(arguments: Sequence[str]) -> int:
    return main(arguments, partial(_with_ledger, ExaggeratingLedger))


def claiming_nothing(arguments: Sequence[str]) -> int:
    return main(arguments, partial(_with_ledger, SilentLedger))


def _with_ledger(lying: type[Ledger], config: RelayConfig, ledger: Ledger, **rest: Any) -> RelayService:
    return RelayService(config, lying(ledger.service, enabled=ledger.enabled), **rest)


class RelayBehindProxy:
    """A right relay on a port that nobody is told, and a wrong proxy on the advertised one."""

    def __init__(
        self, config: RelayConfig, ledger: Ledger, *, public: bool, stun_socket: socket.socket | None
    ) -> None:
        self.ledger = ledger
        self._advertised = config.http_bind_addr
        hidden = replace(config, http_bind_addr=config.http_bind_addr._replace(port=0))
        self._relay = RelayService(hidden, ledger, public=public, stun_socket=stun_socket)
        self._proxy: ProxyWithoutUpgrade | None = None

    async def start(self) -> Mapping[str, Any]:
        endpoints = await self._relay.start()
        hidden_port = int(endpoints["iroh_relay"].rpartition(":")[2])
        self._proxy = ProxyWithoutUpgrade((self._advertised.host, hidden_port))
        await self._proxy.listen(*self._advertised)
        return {**endpoints, "iroh_relay": f"http://{self._advertised}"}

    async def close(self) -> None:
        if self._proxy is not None:
            self._proxy.close()
        await self._relay.close()


def behind_proxy_without_upgrade(arguments: Sequence[str]) -> int:
    return main(arguments, RelayBehindProxy)
