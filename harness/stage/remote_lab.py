"""A lab without a server of ours in it: its devices use the target where it is, through an uplink."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..clients.turn.stun import StunError, binding_request, mapped_address
from ..hosts import Host, MissingCapability
from ..network.lab import Lab
from ..network.uplink import Uplink, WayOut
from ..servers.server import Unsupported, Wants
from ..target import Target
from ..waiting import Deadline
from . import offers
from .lab import LabStage
from .services import STUN_PORT
from .stage import Stage

__all__ = ["open_remote_lab"]

HTTPS = 443
GREETING = b"* OK"
"""Of IMAP (RFC 9051, 7.1.1)."""
WITHIN = 5.0
"""Seconds for an answer of the server."""
TRIES = 3


@contextmanager
def open_remote_lab(stage: Stage, wants: Wants, uplink: Uplink) -> Iterator[LabStage]:
    """A lab whose devices reach the target and nothing else.

    Raises `Unsupported` for a want, which nobody can fulfil, and for a server that cannot be told from the lab;
    `MissingCapability` where this machine cannot have a lab, or a way out of it.
    """
    for name in sorted(wants.stated):
        raise Unsupported(f"{stage.target.name} runs elsewhere: it is as it is, and nobody can set {name}")
    servers = frozenset(each for each in offers.own_addresses(stage.target, stage.host) if ":" not in each)
    try:
        way_out = WayOut(uplink, servers, _seen_as(stage.target, stage.host))
    except ValueError as why:
        raise Unsupported(f"{stage.target.name} cannot be used from a lab: {why}") from why
    target = replace(stage.target, other_addresses=stage.target.other_addresses | servers)
    target_443 = replace(target, imaps=HTTPS, submissions=HTTPS) if _mail_on_443(target, stage.host) else None
    logs = stage.directory("lab")
    with Lab(way_out) as network:
        yield LabStage(
            stage, network, None, stage.host, stage.server, target, target_443, logs, stage.outcome
        )


def _seen_as(target: Target, host: Host) -> str:
    """The IPv4 address that the target sees this machine at, by STUN; without an answer, that of its own interface.

    Raises `Unsupported` for a target without IPv4, and `MissingCapability` where a NAT in between changes ports: what
    the server tells two devices of a lab of each other would lead nowhere.
    """
    ipv4 = next((each for each in host.resolve(target.host) if ":" not in each), None)
    if ipv4 is None:
        raise Unsupported(f"{target.name} has no IPv4 address, and an uplink carries no other")
    with host.connect(ipv4, STUN_PORT, within=WITHIN, kind=socket.SOCK_DGRAM) as connection:
        own, port = connection.getsockname()[:2]
        deadline = Deadline(WITHIN)
        for _ in range(TRIES):
            transaction = secrets.token_bytes(12)
            connection.settimeout(deadline.remaining() / TRIES)
            with contextlib.suppress(OSError, StunError):
                connection.send(binding_request(transaction))
                seen, seen_port = mapped_address(connection.recv(2048), transaction)
                if seen_port != port:
                    raise MissingCapability(
                        "uplink",
                        f"a NAT between this machine and {target.name} changes UDP ports, so that devices of a lab "
                        "would not find each other",
                        heal="run it on a machine with a public address",
                    )
                return seen
    return str(own)


def _mail_on_443(target: Target, host: Host) -> bool:
    """IMAP answers on port 443 to whoever asks for it by ALPN (RFC 7301), as cores do."""
    context = target.ssl_context()
    context.set_alpn_protocols(["imap"])
    try:
        with (
            host.connect(target.host, HTTPS, within=WITHIN) as connection,
            context.wrap_socket(connection, server_hostname=target.host) as session,
        ):
            return session.recv(len(GREETING)) == GREETING
    except (OSError, ssl.SSLError):
        return False
