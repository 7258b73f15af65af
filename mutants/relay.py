"""Iroh relays that are wrong in one way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reference_server.iroh_relay.client import Client
from reference_server.iroh_relay.config import load
from reference_server.iroh_relay.framing import HEADER, frame_spans
from reference_server.iroh_relay.http import routes
from reference_server.iroh_relay.http.http1 import Answer, Request, Responder, Upgrade
from reference_server.iroh_relay.keys import KEY_LENGTH
from reference_server.iroh_relay.service import RelayService
from reference_server.iroh_relay.settings import RelaySettings
from reference_server.iroh_relay.signatures import Ed25519Signatures
from reference_server.iroh_relay.v035.hub import Hub035
from reference_server.iroh_relay.v1.hub import HubV1

from .declaration import mutant
from .wire import ProxyWithoutUpgrade

LARGE = 1000
"""Bytes of a frame that a careless buffer does not hold."""
PLACES = 2
FIRST_FRAMES = 6
RIGHT_SIGNATURES = Ed25519Signatures()


# Forwarding


@mutant(
    "iroh_relay",
    "each frame is forwarded two times",
    kills={
        "relay.relay_forwards_each_frame_once": "delivered twice",
        "relay_v1.relay_v1_forwards_each_datagram_once": "delivered twice",
    },
)
def relay_delivers_twice(settings: RelaySettings) -> RelayService:
    def twice(_source: bytes, _destination: bytes, run: bytes) -> bytes:
        return run * 2

    return RelayService(settings, delivery=twice)


class DropForEverySecond:
    """The first node that is sent something gets it, the second gets nothing, and so on in turn."""

    def __init__(self) -> None:
        self._order: dict[bytes, int] = {}

    def __call__(self, _source: bytes, destination: bytes, run: bytes) -> bytes:
        place = self._order.setdefault(destination, len(self._order))
        return b"" if place % 2 else run


@mutant(
    "iroh_relay",
    "one of two clients receives nothing",
    kills={"relay.relay_forwards_each_frame_once": "the last never arrived"},
)
def relay_drops_frames_to_second_client(settings: RelaySettings) -> RelayService:
    return RelayService(settings, delivery=DropForEverySecond())


class FirstFrames:
    """Each node is sent so many frames, and none that come later."""

    def __init__(self) -> None:
        self._sent: dict[bytes, int] = {}

    def __call__(self, _source: bytes, destination: bytes, run: bytes) -> bytes:
        spans = list(frame_spans(run))
        left = max(0, FIRST_FRAMES - self._sent.get(destination, 0))
        self._sent[destination] = self._sent.get(destination, 0) + len(spans)
        return run[: spans[min(left, len(spans)) - 1][1]] if left else b""


@mutant(
    "iroh_relay",
    "the first frames to each node are forwarded, and no later ones",
    kills={"relay.relay_forwards_each_frame_once": "never arrived"},
)
def relay_forwards_first_frames(settings: RelaySettings) -> RelayService:
    return RelayService(settings, delivery=FirstFrames())


@mutant(
    "iroh_relay",
    "frames say that they come from somebody else",
    kills={
        "relay.relay_forwards_each_frame_once": "another source key than the sender's",
        "relay_v1.relay_v1_forwards_each_datagram_once": "another source key than the sender's",
    },
)
def relay_wrong_source_key(settings: RelaySettings) -> RelayService:
    def from_its_receiver(_source: bytes, destination: bytes, run: bytes) -> bytes:
        data = bytearray(run)
        for start, _stop in frame_spans(run):
            key = start + HEADER.size
            data[key : key + KEY_LENGTH] = destination
        return bytes(data)

    return RelayService(settings, delivery=from_its_receiver)


@mutant(
    "iroh_relay",
    "frames over 1 kB are not forwarded",
    kills={
        "relay.relay_forwards_each_frame_once": "frames were lost or changed; the first had 1200",
        "relay_v1.relay_v1_forwards_each_datagram_once": "frames were lost or changed",
    },
)
def relay_drops_large_frames(settings: RelaySettings) -> RelayService:
    def only_small(_source: bytes, _destination: bytes, run: bytes) -> bytes:
        return b"".join(run[start:stop] for start, stop in frame_spans(run) if stop - start <= LARGE)

    return RelayService(settings, delivery=only_small)


class ForgetfulHub(Hub035):
    """A client that was silent for one ping interval keeps its connection and loses its place in the table."""

    def _ping(self, client: Client, now: float) -> None:
        super()._ping(client, now)
        self._registered.pop(client.key, None)


@mutant(
    "iroh_relay",
    "a client that is silent for seconds gets nothing any more",
    kills={"relay.relay_connection_survives_idle": "the relay forgot a client that was only idle"},
)
def relay_forgets_clients(settings: RelaySettings) -> RelayService:
    return RelayService(settings, hub_035=ForgetfulHub)


class NeverPromotingHub(HubV1):
    def _promote(self, newest: Client) -> None:
        """Leave the place of a connection that has gone empty, although an older one is there."""


@mutant(
    "iroh_relay",
    "when the newest connection of a key leaves, the others stay mute",
    kills={"relay_v1.relay_v1_same_key_rules": "was not told that it is active again"},
)
def relay_v1_never_promotes(settings: RelaySettings) -> RelayService:
    return RelayService(settings, hub_v1=NeverPromotingHub)


# HTTP


@mutant(
    "iroh_relay",
    "/ping is not there, which nodes since 0.91 measure their relay with",
    kills={
        "relay.relay_answers_http": "GET /ping at the advertised relay",
        "relay_v1.relay_v1_carries_real_nodes": "for a node to be online at the relay",
    },
)
def relay_ping_missing(settings: RelaySettings) -> RelayService:
    def answers(*, tls: bool) -> Responder:
        right = routes.relay(tls=tls)

        def respond(request: Request) -> Answer | Upgrade:
            return routes.NOT_FOUND if request.path == "/ping" else right(request)

        return respond

    return RelayService(settings, answers=answers)


class RelayBehindProxy:
    """A right relay on a port that nobody is told, and a wrong proxy on the advertised one."""

    def __init__(self, settings: RelaySettings) -> None:
        config = load(settings.config_path, dev=settings.dev)
        self._advertised = config.http_bind_addr
        hidden = replace(config, http_bind_addr=config.http_bind_addr._replace(port=0))
        self._relay = RelayService(settings, config=hidden)
        self._proxy: ProxyWithoutUpgrade | None = None
        self.ledger = self._relay.ledger

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


@mutant(
    "iroh_relay",
    "a proxy in front of the relay answers the upgrade itself",
    kills={
        "relay.relay_admits_a_client": "answered 200 instead of 101",
        "relay.relay_forwards_each_frame_once": "answered 200 instead of 101",
        "realtime.two_devices_exchange_messages": "realtime does not work over",
        "transports.two_servers_serve_one_profile": "realtime does not work over the relay of the first server",
        "transports.realtime_needs_the_relay_of_the_first_server": "realtime does not work over the first server",
    },
)
def relay_answers_200_without_upgrade(settings: RelaySettings) -> RelayBehindProxy:
    return RelayBehindProxy(settings)


# Log-in


class AnySignature:
    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        del public_key, message, signature
        return True


@mutant(
    "iroh_relay",
    "anybody can log in as any node ID",
    kills={
        "relay.relay_refuses_bad_signatures": "accepted a log-in with a bad signature",
        "relay_v1.relay_v1_refuses_bad_signatures": "accepted a log-in with a bad signature",
    },
)
def relay_accepts_bad_signature(settings: RelaySettings) -> RelayService:
    return RelayService(settings, signatures=AnySignature())


class PlacesNeverFreed:
    """There are places for two clients, and who leaves keeps its place."""

    def __init__(self) -> None:
        self._taken = 0

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if self._taken == PLACES or not RIGHT_SIGNATURES.verify(public_key, message, signature):
            return False
        self._taken += 1
        return True


@mutant(
    "iroh_relay",
    "a client that leaves keeps its place, so that the third log-in is refused",
    kills={
        "realtime.a_device_rejoins": "bob does not get back into the channel after he was offline",
        "realtime.both_devices_of_an_account_receive_messages": "each device of the swarm to hear each other",
    },
)
def relay_never_frees_places(settings: RelaySettings) -> RelayService:
    return RelayService(settings, signatures=PlacesNeverFreed())


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


@mutant(
    "iroh_relay",
    "a node ID can log in once and never again",
    kills={"realtime.devices_survive_a_relay_restart": "did not log in again"},
)
def relay_refuses_second_login(settings: RelaySettings) -> RelayService:
    assert settings.config_path is not None
    return RelayService(settings, signatures=EachKeyOnce(settings.config_path.with_name("seen-keys")))
