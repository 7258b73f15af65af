"""The relay as a service: listeners for HTTP, HTTPS, metrics and STUN."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, cast

from ..addresses import check_bind_address
from ..certificate_pair import server_tls
from ..descriptors import adopt_udp_socket, allow_many_descriptors
from ..errors import ConfigurationError
from ..ledger import Ledger
from ..memory import keep_freed_memory
from . import stun
from .config import RelayConfig, SocketAddress, load
from .connection import Connection, TlsConnection
from .http import metrics, routes
from .http.http1 import Responder, Transport
from .hub import Delivery, Hub, Parts, exactly_once
from .keys import is_point
from .limits import DebtBucket, Meter, RateLimit, TokenBucket, Unlimited
from .settings import RelaySettings
from .shell import Shell
from .signatures import Ed25519Signatures, SignaturePolicy
from .v035.hub import Hub035
from .v1.hub import HubV1

__all__ = ["RelayService"]

log = logging.getLogger(__name__)


class RelayService:
    """One iroh relay of every generation (`reference_server.service.Service`)."""

    def __init__(
        self,
        settings: RelaySettings,
        *,
        config: RelayConfig | None = None,
        ledger: Ledger | None = None,
        signatures: SignaturePolicy | None = None,
        delivery: Delivery = exactly_once,
        answers: Callable[..., Responder] = routes.relay,
        hub_035: type[Hub035] = Hub035,
        hub_v1: type[HubV1] = HubV1,
    ) -> None:
        """`config` takes the place of the file that the settings name."""
        config = config or load(settings.config_path, dev=settings.dev)
        _check(config, settings)
        self.ledger = ledger or Ledger("iroh_relay", enabled=settings.ledger)
        self.stun_counters = stun.StunCounters()
        self._config = config
        self._answers = answers
        self._hub_035 = hub_035
        self._hub_v1 = hub_v1
        self._stun_socket = (
            None if settings.stun_fd is None else adopt_udp_socket("--stun-fd", settings.stun_fd)
        )
        self._parts = Parts(
            self.ledger,
            config.limits,
            signatures or Ed25519Signatures(),
            delivery,
            lru_cache(maxsize=config.key_cache_capacity)(is_point),
        )
        self._servers: list[asyncio.Server] = []
        self._stun: asyncio.DatagramTransport | None = None
        self._shell: Shell | None = None

    async def start(self) -> Mapping[str, Any]:
        allow_many_descriptors()
        keep_freed_memory()
        config = self._config
        self._shell = Shell(self._hubs(), config.access, config.limits, self.ledger)
        endpoints: dict[str, Any] = {}
        if config.enable_relay:
            endpoints["iroh_relay"] = await self._start_relay()
        if config.enable_metrics:
            await self._listen(
                config.metrics_bind_addr,
                "metrics",
                metrics.responder(self._parts.counters, self.stun_counters),
            )
        if config.enable_stun:
            endpoints["stun"] = await self._start_stun()
        return endpoints

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        if self._stun is not None:
            self._stun.close()
        if self._shell is not None:
            await self._shell.close()

    def _hubs(self) -> dict[Transport, Hub]:
        limit = self._config.rate_limit
        hub_035 = self._hub_035(
            self._parts, _meter(TokenBucket, limit), send_node_gone=self._config.send_node_gone
        )
        hub_v1 = self._hub_v1(self._parts, _meter(DebtBucket, limit))
        return {
            Transport.DERP: hub_035,
            Transport.WEBSOCKET: hub_035,
            Transport.V1: hub_v1,
            Transport.V2: hub_v1,
        }

    async def _start_relay(self) -> str:
        config = self._config
        if config.tls is None:
            address = await self._listen(config.http_bind_addr, "relay", self._answers(tls=False))
            return f"http://{address}"
        context = server_tls(config.tls.certificate, config.tls.key)
        await self._listen(config.http_bind_addr, "captive_portal", routes.captive_portal)
        address = await self._listen(
            config.tls.https_bind_addr, "relay_tls", self._answers(tls=True), context
        )
        return f"https://{address}"

    async def _listen(
        self,
        address: SocketAddress,
        listener: str,
        responder: Responder,
        tls: ssl.SSLContext | None = None,
    ) -> SocketAddress:
        """Returns the address with the port that it really has."""
        assert self._shell is not None
        make: Callable[[], Connection] = (
            partial(Connection, self._shell, listener, responder)
            if tls is None
            else partial(TlsConnection, self._shell, listener, responder, tls)
        )
        server = await self._shell.loop.create_server(make, sock=_listening_socket(address))
        self._servers.append(server)
        return SocketAddress(address.host, server.sockets[0].getsockname()[1])

    async def _start_stun(self) -> int:
        loop = asyncio.get_running_loop()
        make = partial(_StunProtocol, self.stun_counters)
        address = self._config.stun_bind_addr
        try:
            if self._stun_socket is None:
                self._stun, _ = await loop.create_datagram_endpoint(
                    make, local_addr=(address.host, address.port)
                )
            else:
                self._stun, _ = await loop.create_datagram_endpoint(make, sock=self._stun_socket)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: STUN on UDP {address}") from error
        port: int = self._stun.get_extra_info("sockname")[1]
        return port


def _listening_socket(address: SocketAddress) -> socket.socket:
    """`[::]` is both families, as for upstream's relay; asyncio would make it IPv6 alone."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server(address, family=family, dualstack_ipv6=address.host == "::")


class _StunProtocol(asyncio.DatagramProtocol):
    def __init__(self, counters: stun.StunCounters) -> None:
        self._counters = counters
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Until Python 3.12 the transport of asyncio's own loop is no subclass of DatagramTransport.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        host, port = addr[:2]
        self._counters.requests += 1
        reply = stun.answer(data, host, port)
        if reply is None:
            self._counters.bad_requests += 1
            return
        if ":" in host:
            self._counters.ipv6_success += 1
        else:
            self._counters.ipv4_success += 1
        self._transport.sendto(reply, addr)


def _check(config: RelayConfig, settings: RelaySettings) -> None:
    if not config.enable_relay and not config.enable_stun:
        raise ConfigurationError("enable_relay and enable_stun are both false: there is nothing to serve")
    if settings.stun_fd is not None and not config.enable_stun:
        raise ConfigurationError("a socket for STUN was passed, but enable_stun is false")
    used = [config.http_bind_addr] if config.enable_relay else []
    used += [config.tls.https_bind_addr] if config.enable_relay and config.tls else []
    used += [config.stun_bind_addr] if config.enable_stun and settings.stun_fd is None else []
    used += [config.metrics_bind_addr] if config.enable_metrics else []
    for address in used:
        check_bind_address(address.host, public=settings.public)


def _meter(bucket: Callable[[RateLimit], Meter], limit: RateLimit | None) -> Callable[[], Meter]:
    return Unlimited if limit is None else partial(bucket, limit)
