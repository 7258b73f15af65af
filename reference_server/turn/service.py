"""TURN as a service: opens the listeners, starts the thread that serves them, ends both."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from reference_server.addresses import is_unspecified
from reference_server.certificate_pair import server_tls
from reference_server.descriptors import adopt_udp_socket, allow_many_descriptors
from reference_server.errors import ConfigurationError
from reference_server.ledger import Ledger
from reference_server.turn_secret import read_secrets

from .allocations import Permissions
from .core import Strategies
from .credentials import Credentials, SharedSecrets
from .ledger import TurnLedger
from .peers import DenyList
from .settings import Listen, Transport, TurnSettings
from .sockets.shell import Shell
from .sockets.udp import address_of, bind_udp
from .stun import AddressFamily

__all__ = ["TurnService"]

log = logging.getLogger(__name__)


class TurnService:
    """One TURN server (`reference_server.service.Service`)."""

    def __init__(
        self,
        settings: TurnSettings,
        *,
        ledger: TurnLedger | None = None,
        credentials: Callable[..., Credentials] = SharedSecrets,
        adapt: Callable[[Strategies], Strategies] | None = None,
    ) -> None:
        """`credentials` is made as `SharedSecrets` is. `adapt` gets the strategies and returns those that
        are used."""
        self.ledger: Ledger
        self.ledger = self._turn_ledger = ledger or TurnLedger(enabled=settings.ledger)
        self._settings = settings
        self._credentials = credentials(_secrets(settings), settings.realm, bare=settings.strict_usernames)
        self._adapt = adapt or (lambda standard: standard)
        self._udp_socket = None if settings.udp_fd is None else adopt_udp_socket("--udp-fd", settings.udp_fd)
        self._tls = server_tls(settings.cert, settings.key) if settings.cert and settings.key else None
        self._shell: Shell | None = None

    async def start(self) -> Mapping[str, Any]:
        """Raises `OSError` for an address that cannot be had, before anything is served."""
        allow_many_descriptors()
        opened = self._open()
        settings = replace(self._settings, listeners=tuple(opened))
        self._check_relays(settings)
        for network in settings.allow_peers:
            log.warning("peers in %s are allowed: for labs only, this lends strangers the network", network)
        relay_hosts = {
            family: host if _is_local(host) else _listener_host(settings, family)
            for family in AddressFamily
            if (host := settings.relay_host(family)) is not None
        }
        self._shell = Shell(
            settings,
            self._strategies(settings),
            self._turn_ledger,
            listeners=opened,
            relay_hosts=relay_hosts,
            tls=self._tls,
        )
        self._turn_ledger.run_there = self._shell.loop.call
        self._shell.start()
        endpoints: dict[str, Any] = {
            "turn": [str(listen) for listen in opened],
            "turn_realm": settings.realm,
            "turn_lifetimes": {
                "permission": settings.permission_lifetime,
                "channel": settings.channel_lifetime,
            },
        }
        for listen in opened:
            if listen.transport is Transport.UDP:
                endpoints.setdefault("stun", listen.address.port)
        return endpoints

    async def close(self) -> None:
        if self._shell is not None:
            self._shell.close()
            self._turn_ledger.run_there = lambda work: work()

    def _strategies(self, settings: TurnSettings) -> Strategies:
        own = [host for family in AddressFamily if (host := settings.relay_host(family)) is not None]
        own += [each.address.host for each in settings.listeners if not is_unspecified(each.address.host)]
        return self._adapt(
            Strategies(
                self._credentials,
                DenyList(
                    # Peers are reached over UDP: a peer may have the port that is a listener's over TCP or TLS.
                    listeners=[
                        each.address for each in settings.listeners if each.transport is Transport.UDP
                    ],
                    own_hosts=own,
                    allowed=settings.allow_peers,
                ),
                Permissions(strict=settings.strict_permissions),
            )
        )

    def _open(self) -> dict[Listen, socket.socket]:
        """The listeners with the ports that they really have."""
        opened: dict[Listen, socket.socket] = {}
        try:
            for listen in self._settings.listeners:
                bound = self._bind(listen)
                opened[Listen(listen.transport, address_of(bound.getsockname()))] = bound
        except OSError as error:
            for bound in opened.values():
                bound.close()
            raise OSError(error.errno, f"{error.strerror}: {listen}") from error
        return opened

    def _bind(self, listen: Listen) -> socket.socket:
        given = self._udp_socket
        if listen.transport is not Transport.UDP:
            return socket.create_server(listen.address, family=listen.address.family.socket_family)
        if given is not None and address_of(given.getsockname()) == listen.address:
            return given
        return bind_udp(listen.address)

    @staticmethod
    def _check_relays(settings: TurnSettings) -> None:
        for family in AddressFamily:
            host = settings.relay_host(family)
            if host is not None and ipaddress.ip_address(host).is_unspecified:
                raise ConfigurationError(
                    f"clients cannot be told that relays are at {host}: name the address in relay_ip"
                )


def _listener_host(settings: TurnSettings, family: AddressFamily) -> str:
    """Address to which relays are bound when relay_ip is an address of somebody in front of us."""
    hosts = [listen.address.host for listen in settings.listeners if listen.address.family == family]
    if not hosts:
        raise ConfigurationError(
            "relay_ip is no address of this machine, and no listener has its address family"
        )
    return hosts[0]


def _is_local(host: str) -> bool:
    with socket.socket(AddressFamily.of(host).socket_family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True


def _secrets(settings: TurnSettings) -> list[str]:
    secrets = [
        *settings.secrets,
        *(secret for file in settings.secret_files for secret in read_secrets(file)),
    ]
    if not secrets:
        raise ConfigurationError("TURN needs a secret: --secret-file FILE, or --secret TEXT (visible in ps)")
    if not all(secrets):
        raise ConfigurationError("TURN needs a secret that is not empty")
    return secrets
