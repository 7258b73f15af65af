"""coturn (Debian's package `coturn`), the TURN server of most chatmail servers."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from ..clients.turn.ledger import NOTHING, Count
from ..clients.turn.sessions import TurnSession
from ..hosts import Host
from ..network.namespace import program
from ..target import Service
from ..urls import TurnUrl
from .certificates import Certificate, issue
from .probes import answers_stun
from .process import Process, free_port, refuse_taken, version_of
from .server import Place, Ports, Running, Wants, require

__all__ = ["Coturn", "sessions_in"]

REALM = "chatmail.test"
CONFIG = """\
listening-ip={address}
relay-ip={address}
listening-port={ports.turn}
tls-listening-port={ports.turns}
min-port=49152
max-port=65535
realm={realm}
use-auth-secret
static-auth-secret={secret}
cert={certificate.chain}
pkey={certificate.key}
no-cli
no-dtls
no-rfc5780
no-multicast-peers
userdb={directory}/turndb
pidfile={directory}/turnserver.pid
log-file=stdout
simple-log
{further}
"""
# RFC 6890, without the address of this server's own relays.
PRIVATE = (
    *("0.0.0.0-0.255.255.255", "10.0.0.0-10.255.255.255", "100.64.0.0-100.127.255.255"),
    *("169.254.0.0-169.254.255.255", "172.16.0.0-172.31.255.255", "192.168.0.0-192.168.255.255"),
)


USAGE = re.compile(
    r" session (?P<id>\d+): usage: .* rp=(?P<rp>\d+), rb=(?P<rb>\d+), sp=(?P<sp>\d+), sb=(?P<sb>\d+)"
)
CLOSED = re.compile(r" session (?P<id>\d+): closed .* local (?P<local>\S+), remote (?P<remote>\S+), reason")


class Coturn:
    """TURN over UDP, TCP and TLS, with credentials from a shared secret (its option `use-auth-secret`)."""

    name = "coturn"
    services = frozenset({Service.TURN})
    translates = frozenset({"turn_lifetimes", "turn_secret", "both_families"})

    def __init__(self, binary: Path | None = None) -> None:
        """`binary`: another `turnserver` than that of the system."""
        self._binary = binary

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        require(self, wants)
        binary = str(self._binary or program("turnserver"))
        version = version_of(host, binary)
        ports = place.ports or _free_ports(host, place.address)
        refuse_taken(host, self.name, place.address, {"udp": [ports.turn], "tcp": [ports.turn, ports.turns]})
        directory = place.directory(self.name)
        certificate = issue(directory, [place.address, *place.certified])
        config = directory / "turnserver.conf"
        config.touch(mode=0o600)
        config.write_text(_config(place, ports, wants, certificate, directory))
        url = TurnUrl("udp", place.address, ports.turn)
        process = Process(
            self.name,
            host,
            [binary, "-c", config, "--verbose"],
            log=place.logs / "coturn.log",
            ready=lambda: answers_stun(host, url),
            ready_when=f"answer STUN at {place.address} UDP port {ports.turn}",
            within=place.within,
            version=f"coturn {version}",
        )
        with ExitStack() as stack:
            stack.enter_context(process)
            process.start()
            return Running(
                self.name,
                {Service.TURN: process},
                turn=(
                    url,
                    TurnUrl("tcp", place.address, ports.turn),
                    TurnUrl("tls", place.address, ports.turns, "turns"),
                ),
                capabilities=frozenset({"turn", "turns"}),
                ca_file=certificate.ca,
                turn_sessions=lambda: sessions_in(process.output()),
                ends=stack.pop_all(),
            )


def sessions_in(log: str) -> list[TurnSession]:
    """The sessions that have ended. Each says now and then what came and went since it said so before."""
    counts: dict[str, tuple[Count, Count]] = {}
    found = []
    for line in log.splitlines():
        if said := USAGE.search(line):
            received, sent = counts.get(said["id"], (NOTHING, NOTHING))
            rp, rb, sp, sb = (int(said[name]) for name in ("rp", "rb", "sp", "sb"))
            counts[said["id"]] = received + Count(rp, rb), sent + Count(sp, sb)
        elif said := CLOSED.search(line):
            session = TurnSession(said["remote"], said["local"], *counts.pop(said["id"], (NOTHING, NOTHING)))
            found.append(session)
    return found


def _free_ports(host: Host, address: str) -> Ports:
    """The standard ones where they are free, as on an address that nobody else has: iroh asks for STUN there."""
    turn = free_port(host, address, rather=Ports.turn)
    return Ports(turn=turn, turns=free_port(host, address, rather=Ports.turns))


def _config(place: Place, ports: Ports, wants: Wants, certificate: Certificate, directory: Path) -> str:
    further = [f"denied-peer-ip={each}" for each in PRIVATE]
    if place.is_loopback:
        further += ["allow-loopback-peers", f"allowed-peer-ip={place.address}"]
        further += ["denied-peer-ip=127.0.0.0-127.255.255.255"]
    if wants.both_families:  # it relays over IPv4 alone, as METADATA can name no other address of it
        further.append(f"listening-ip={place.address6}")
    if wants.turn_lifetimes is not None:
        # Version 4.6.1 keeps to all three. Only a Refresh that asks for less than 600 s is granted 600 s, more than
        # the maximum; aioice and libwebrtc ask for 600.
        lifetimes = wants.turn_lifetimes
        further += [
            f"max-allocate-lifetime={lifetimes.allocation:.0f}",
            f"permission-lifetime={lifetimes.permission:.0f}",
            f"channel-lifetime={lifetimes.channel:.0f}",
        ]
    return CONFIG.format(
        address=place.address,
        ports=ports,
        realm=REALM,
        secret=wants.turn_secret or "",
        certificate=certificate,
        directory=directory,
        further="\n".join(further),
    )
