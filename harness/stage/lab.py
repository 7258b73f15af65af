"""A lab with a server in it: what a check is given that has to know which way the bytes went."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ..clients.core.versions import CoreChoice
from ..clients.device import Device, devices_online
from ..network.lab import Lab, LabHost
from ..network.preflight import preflight
from ..servers.reference import REFERENCE_COMMAND, ReferenceServer, keep_service_logs
from ..target import Target

__all__ = ["DOMAIN", "RELAY_PORT", "STUN_PORT", "LabFactory", "LabSession", "open_lab"]

SERVER = "chatmail"
DOMAIN = "chatmail.example"
"""The name of a server that is reached over IPv4 and IPv6."""
ON_443 = ("imap", "submission", "relay", "turns")
"""Services that have an address of their own besides the server's, on TCP port 443 of which they are found."""
RELAY_PORT = 3340
"""Of a server that is found by its name."""
STUN_PORT = 3478
"""UDP, where iroh asks at the relay's address; without an answer it starts three seconds late."""


@dataclass(frozen=True)
class LabSession:
    """A lab, the server in it, and how devices come to be there."""

    lab: Lab
    server: LabHost
    target: Target
    """As a device with an ordinary way out uses it."""
    target_443: Target
    """The same server with an address for each service, where it is on TCP port 443; `target` without `nft`."""
    reference: ReferenceServer
    logs: Path
    cores: CoreChoice

    def devices(
        self, places: Mapping[str, LabHost], *, by_443: Collection[str] = ()
    ) -> AbstractContextManager[tuple[Device, ...]]:
        """A device on each of these hosts, by name; they start together and end with the block.

        `by_443`: the names of those that are configured to use nothing but port 443.
        """
        targets = {name: self.target_443 if name in by_443 else self.target for name in places}
        return devices_online(
            list(places), self.target, self.logs, hosts=places, targets=targets, cores=self.cores
        )


class LabFactory(Protocol):
    """Makes labs with a server like the target; see `open_lab`."""

    def __call__(
        self, *, arguments: Sequence[str] = (), ipv6: bool = False
    ) -> AbstractContextManager[LabSession]: ...


@contextlib.contextmanager
def open_lab(
    logs: Path,
    *,
    command: Sequence[str] = REFERENCE_COMMAND,
    arguments: Sequence[str] = (),
    ipv6: bool = False,
    cores: CoreChoice | None = None,
    on_secret: Callable[[str], object] = str,
) -> Iterator[LabSession]:
    """A lab with a reference server (or another `command`) at a public address and the standard ports.

    `logs`: where programs write; each lab gets a directory of its own there. `ipv6`: the server is found by the name
    `DOMAIN`, over IPv4 and IPv6; METADATA has that name for the relay, and for TURN an IPv4 address as ever. Raises
    `MissingCapability` where this machine cannot have a lab, and `ServerError`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="lab-", dir=logs))
    with Lab() as lab, tempfile.TemporaryDirectory(prefix="dc-harness-state-") as directory:
        state = Path(directory)
        host = lab.server(SERVER, addresses=1 + len(ON_443))
        own, *others = (each for each in host.addresses if ":" not in each)
        # Without rules each service is found at its own port; networks that let only 443 out need rules, too.
        on_443 = dict(zip(ON_443, others, strict=True)) if preflight().has("nft") else {}
        if ipv6:
            lab.names.set(DOMAIN, own, _ipv6(host))
            listening = _on_both_families(Path(directory), own, _ipv6(host))
        else:
            relay = f"{on_443['relay']}:443" if on_443 else f"{own}:{RELAY_PORT}"
            listening = ["--host", own, "--advertise-relay", f"http://{relay}"]
        if on_443:
            listening += ["--advertise-turns", f"{on_443['turns']}:443"]
        listening += ["--public", "--standard-ports", *arguments]
        try:
            with ReferenceServer(
                state, logs, host=host, command=command, arguments=listening, ephemeral=False
            ) as server:
                target = replace(server.target, on_secret=on_secret, other_addresses=frozenset(others))
                if ipv6:
                    target = replace(target, host=DOMAIN)
                target_443 = target
                if on_443:
                    _forward_443(host, own, on_443, server)
                    target_443 = _by_443(target, on_443)
                yield LabSession(lab, host, target, target_443, server, logs, cores or CoreChoice())
        finally:
            keep_service_logs(state, logs)


def _ipv6(host: LabHost) -> str:
    return next(each for each in host.addresses if ":" in each)


def _on_both_families(directory: Path, ipv4: str, ipv6: str) -> list[str]:
    """How an operator lets the server listen on every address: only TURN needs to be told which there are.

    Its listener for IPv6 is there because iroh asks for STUN at each address of the relay.
    """
    secret = secrets.token_urlsafe(32)
    maddy, relay = directory / "maddy.conf", directory / "iroh-relay.toml"
    maddy.touch(mode=0o600)
    maddy.write_text(f"""\
$(primary_domain) = {DOMAIN}
imap tls://0.0.0.0:993 {{
    turn_enable yes
    turn_server {ipv4}
    turn_port {STUN_PORT}
    turn_secret {secret}
}}
turn udp://{ipv4}:{STUN_PORT} udp://[{ipv6}]:{STUN_PORT} tcp://{ipv4}:{STUN_PORT} tls://{ipv4}:5349 {{
    realm {DOMAIN}
    secret {secret}
    tls self_signed
}}
""")
    relay.write_text(f'http_bind_addr = "[::]:{RELAY_PORT}"\nenable_stun = false\nenable_metrics = false\n')
    files = ["--config", str(maddy), "--config", str(relay), "--dialect", "chatmail"]
    return ["--host", "::", *files, "--advertise-relay", f"http://{DOMAIN}:{RELAY_PORT}"]


def _by_443(target: Target, on_443: Mapping[str, str]) -> Target:
    return replace(
        target, imap_host=on_443["imap"], imaps=443, smtp_host=on_443["submission"], submissions=443
    )


def _forward_443(host: LabHost, own: str, on_443: Mapping[str, str], server: ReferenceServer) -> None:
    """As an operator would: a rule on the server's machine, and the services know nothing of it."""
    turns = next(each.port for each in server.target.turn if each.transport == "tls")
    relay = urlsplit(server.endpoints["iroh_relay"]).port
    ports = {
        "imap": server.target.imaps,
        "submission": server.target.submissions,
        "relay": relay,
        "turns": turns,
    }
    rules = "\n".join(
        f"ip daddr {on_443[service]} tcp dport 443 dnat ip to {own}:{port}" for service, port in ports.items()
    )
    rules += f"\nip daddr {on_443['relay']} udp dport {STUN_PORT} dnat ip to {own}:{STUN_PORT}"
    host.namespace.nft(
        f"table ip forward443 {{\n chain pre {{\n type nat hook prerouting priority dstnat\n{rules}\n}}\n}}\n"
    )
