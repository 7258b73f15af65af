"""A site: a server in a lab before it starts, what stands around it, and what its clients are told.

A fault changes a site; then the server is started, and somebody looks at it from a machine elsewhere on the internet.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.network.lab import Lab, LabHost
from harness.network.names import Names
from harness.network.netlink import open_netlink
from harness.servers.reference import COMMAND
from harness.servers.server import RunningServer, Wants

from . import fronts, nginx
from .certificates import Authority, Issued
from .programs import Changes

__all__ = ["NAME", "RELAY_PORT", "TURN_NAME", "TURN_PORT", "Site"]

NAME = "chat.example"
"""The server's name, which is its mail domain as well."""
TURN_NAME = "turn.chat.example"
"""A name that certificates of TURN are valid for, where it exists."""
RELAY_PORT, TURN_PORT = 3340, 3478
BEHIND = 20_000
"""A front listens at this port above the one that is led to it."""
EDGE = """\
table inet edge {{
    chain arriving {{
        type filter hook prerouting priority mangle
        iifname "{interface}" {match} {verdict}
    }}
}}
"""
LED = """\
table ip fronts {{
    chain arriving {{
        type nat hook prerouting priority dstnat
        iifname "{interface}" {protocol} dport {port} redirect to :{other}
    }}
}}
"""
FURTHER = """\
table ip further {{
    chain arriving {{
        type nat hook prerouting priority dstnat
        iifname "{interface}" ip daddr {further} dnat to {own}
    }}
}}
"""
TRANSLATED = """\
table ip translator {{
    chain arriving {{
        type nat hook prerouting priority dstnat + 10
        iifname "{interface}" ip daddr {outer} dnat to {inner}
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat
        oifname "{interface}" ip saddr {inner} snat to {outer}
    }}
}}
"""


@dataclass
class Site:
    """What a fault can change. All of it is done before the server starts, but for what is left for `later`."""

    lab: Lab
    machine: LabHost
    """Where the server is to run; its first address is the server's, the second one is nobody's."""
    stranger: LabHost
    """Somebody else's machine."""
    layout: str
    directory: Path
    """For files of programs, which the end of the site removes."""
    logs: Path
    authority: Authority
    """A CA that clients know, of which `private` is none."""
    private: Authority
    open: ExitStack
    """Ends what was started around the server."""
    wants: Wants = field(default_factory=Wants)
    """Told to the server's mail."""
    turn_wants: dict[str, Any] = field(default_factory=dict)
    """Told to a TURN server of its own in place of that."""
    changes: dict[str, Changes] = field(default_factory=dict)
    """By the name of a program: `reference`, `coturn`, `iroh-relay`, `madmail`."""
    command: tuple[str, ...] = COMMAND
    """Of our server."""
    inner_address: str | None = None
    """The address that the server itself knows, behind a 1:1 NAT."""
    relay_front: nginx.Front | None = None
    """nginx in front of the iroh relay."""
    compiled_in: bool = True
    """True if iroh knows `authority` as well: its clients have CAs compiled in, whatever a machine trusts besides."""
    relay_binary: Path | None = None
    """Another iroh-relay than the layout's."""
    steps_afterwards: list[Callable[[RunningServer], object]] = field(default_factory=list)

    @property
    def own(self) -> str:
        """The server's address, as clients know it."""
        return self.machine.address

    @property
    def second(self) -> str:
        """Another IPv4 address of its machine, at which nothing listens by itself."""
        return [each for each in self.machine.addresses if ":" not in each][1]

    @property
    def own6(self) -> str:
        """An IPv6 address of its machine, at which nothing listens."""
        return next(each for each in self.machine.addresses if ":" in each)

    @property
    def names(self) -> Names:
        return self.lab.names

    def drop(self, match: str) -> None:
        """What comes from outside and fits is swallowed, as by a firewall. `match`: an expression of nft."""
        self._at_the_edge(match, "drop")

    def refuse(self, match: str) -> None:
        """Likewise, and the sender is told, as by a machine at which nothing listens."""
        verdict = "reject with tcp reset" if "tcp" in match else "reject with icmpx port-unreachable"
        self._at_the_edge(match, verdict)

    def offer_turn(self, host: str, port: int = TURN_PORT) -> None:
        """METADATA names this host for TURN."""
        self.wants |= Wants(advertised_turn=f"{host}:{port}")

    def offer_relay(self, url: str) -> None:
        """METADATA has this URL of the iroh relay."""
        self.wants |= Wants(advertised_relay=url)

    def edit(self, program: str, edit: str) -> None:
        """Change a program's configuration file by a command of sed(1)."""
        self.changes.setdefault(program, Changes()).edits.append(edit)

    def edit_now(self, program: str, edit: str) -> None:
        """Likewise, when it has been started with another one."""
        for file in (self.directory / "state" / program).glob("*.conf"):
            subprocess.run(["sed", "-i", "-e", edit, file], check=True)

    def set_clock(self, program: str, clock: str) -> None:
        """Let a program have another time than everybody else."""
        self.changes.setdefault(program, Changes()).clock = clock

    def mutate(self, name: str) -> None:
        """Take a mutant in place of our server."""
        self.command = (sys.executable, "-m", "mutants", name, "--domain", NAME)

    def serve_at_second(self) -> None:
        """The server is reached at the second address of its machine as well."""
        rules = FURTHER.format(interface=self.machine.link.inner, further=self.second, own=self.own)
        self.machine.namespace.nft(rules)

    def put_behind_nat(self, inner: str) -> None:
        """The machine has an inner address, and something in front of it translates the outer one, 1:1."""
        self.inner_address = inner
        self.machine.namespace.call(_add_address, inner)
        link = self.machine.link.inner
        rules = TRANSLATED.format(interface=link, outer=self.own, inner=inner)
        self.machine.namespace.nft(rules)

    def put_front(self, port: int, talk: fronts.Conversation, certificate: Issued | None = None) -> None:
        """Whoever comes to a TCP port from outside meets this in place of the server."""
        address = (self.own, port + BEHIND)
        self.open.enter_context(fronts.Listener(self.machine, address, talk, certificate))
        self.redirect("tcp", port, port + BEHIND)

    def put_nginx(self, port: int, front: nginx.Front, upstream: str) -> None:
        """Likewise, nginx."""
        self.open.enter_context(
            nginx.start_nginx(
                self.machine,
                front,
                address=self.own,
                port=port + BEHIND,
                upstream=upstream,
                directory=self.directory / f"nginx-{port}",
                log=self.logs / f"nginx-{port}.log",
            )
        )
        self.redirect("tcp", port, port + BEHIND)

    def show_certificate(self, certificate: Issued) -> None:
        """IMAP, submission and HTTPS show this certificate in place of their own."""
        for port in (993, 465, 443):
            talk = fronts.passes_on(self.machine, (self.own, port), tls=True)
            self.put_front(port, talk, certificate)

    def later(self, step: Callable[[RunningServer], object]) -> None:
        """To be done when the server runs."""
        self.steps_afterwards.append(step)

    def redirect(self, protocol: str, port: int, other: int) -> None:
        """What comes to a port from outside is led to another port of the machine."""
        interface = self.machine.link.inner
        self.machine.namespace.nft(LED.format(interface=interface, protocol=protocol, port=port, other=other))

    def _at_the_edge(self, match: str, verdict: str) -> None:
        interface = self.machine.link.inner
        self.machine.namespace.nft(EDGE.format(interface=interface, match=match, verdict=verdict))


def _add_address(address: str) -> None:
    with open_netlink() as netlink:
        [index] = netlink.link_lookup(ifname="lo")
        netlink.addr("add", index=index, address=address, prefixlen=32)
