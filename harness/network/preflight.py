"""Capabilities of this machine for a lab, found by trying; no version is read and no setting believed.

Levels: `root` and `userns` can make networks, the latter as an ordinary user who is root in a namespace of their own;
`loopback` cannot, and what needs a network is skipped with the missing capability.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..hosts import MissingCapability, how_to_allow_namespaces
from . import routing_rules
from .links import connect, prepare
from .namespace import Namespace, RulesetRefused, in_user_namespace, program
from .netlink import NetlinkFailed, open_netlink

__all__ = ["Level", "Missing", "Preflight", "enter_user_namespace", "preflight"]

CLONE_NEWUSER = 0x10000000
CAP_SYS_ADMIN = 21
STATUS = Path("/proc/self/status")
TUN = Path("/dev/net/tun")
TRIAL_INTERFACE = "d1"

TRIAL_RULES = f"""
table netdev trial {{
    set flows {{
        typeof ip saddr . ip daddr . meta l4proto . th sport . th dport
        flags dynamic
        counter
        size 16
    }}
    chain out {{
        type filter hook egress device "{TRIAL_INTERFACE}" priority 300
        update @flows {{ ip saddr . ip daddr . meta l4proto . th sport . th dport counter }}
    }}
}}
table ip trial {{
    map mappings {{
        type ipv4_addr . inet_service : ipv4_addr . inet_service
        flags dynamic,timeout
        timeout 1s
        size 16
    }}
    chain post {{
        type nat hook postrouting priority srcnat
        meta l4proto udp snat ip to ip saddr . udp sport map @mappings
    }}
}}
"""


class Level(enum.StrEnum):
    """Level of privilege, and with it the part of a lab that can be had."""

    ROOT = "root"
    USERNS = "userns"
    LOOPBACK = "loopback"


@dataclass(frozen=True)
class Missing:
    """Reason for which a capability is missing."""

    reason: str
    heal: str
    """The command that gives it."""

    def __str__(self) -> str:
        return f"{self.reason}: {self.heal}"


@dataclass(frozen=True)
class Preflight:
    """Findings about this machine."""

    level: Level
    found: dict[str, str]
    """Capability -> what it is good for."""
    missing: dict[str, Missing]

    def has(self, *capabilities: str) -> bool:
        return self.found.keys() >= set(capabilities)

    def require(self, *capabilities: str) -> None:
        """Raises `MissingCapability` for the first that is not there."""
        for capability in capabilities:
            if (missing := self.missing.get(capability)) is not None:
                raise MissingCapability(capability, missing.reason, heal=missing.heal)

    def proofs(self) -> tuple[list[str], dict[str, Missing]]:
        """Features that a lab of this machine can prove; and those that it cannot, with what the first way lacks."""
        can = [proof for proof, ways in PROOFS.items() if any(self.has(*way) for way in ways)]
        cannot = {
            proof: next(self.missing[each] for each in ways[0] if each in self.missing)
            for proof, ways in PROOFS.items()
            if proof not in can
        }
        return can, cannot

    def sentences(self) -> list[str]:
        """For the head of a report: what can be had, and for everything else why not."""
        if not self.found:
            return [f"lab: level {self.level}, no networks of our own: {self.missing['netns']}"]
        can = f"lab: level {self.level}, {', '.join(f'{name} ({use})' for name, use in self.found.items())}"
        return [can, *(f"lab: without {name}: {missing}" for name, missing in self.missing.items())]


def enter_user_namespace() -> Missing | None:
    """Become root in a user namespace, where that is needed to make networks; None, or why it did not work.

    To be called before the first thread starts: the kernel refuses it to a process with threads.
    """
    if not STATUS.exists():
        return Missing("this is not Linux", "run it on Linux, in a virtual machine for example")
    if _is_administrator():
        return None
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        reason = "this process had threads already when it was asked to enter a user namespace"
        return Missing(reason, "unshare --user --map-root-user COMMAND")
    # Tried in a child first: where it is forbidden half, there would be no way back for this process.
    trial = ["unshare", "--user", "--map-root-user", "--net", "--mount", "true"]
    user, group = os.geteuid(), os.getegid()
    try:
        subprocess.run(trial, capture_output=True, text=True, check=True)
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare was refused")
    except FileNotFoundError:
        return Missing("unshare is not installed", "apt-get install util-linux")
    except (subprocess.CalledProcessError, OSError) as error:
        return Missing(f"this user may not make namespaces ({_words(error)})", how_to_allow_namespaces())
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return None


@functools.cache
def preflight() -> Preflight:
    """Try everything, once per process. An ordinary user is in a user namespace afterwards, if that can be."""
    found: dict[str, str] = {}
    missing: dict[str, Missing] = {}
    refused = enter_user_namespace()
    if refused is None:
        try:
            with Namespace("trial") as upstream, Namespace("trial's guest") as guest:
                prepare(upstream, forwards=True)
                connect(upstream, guest, 1, ["192.0.2.1"])
                for name, trial in TRIALS.items():
                    if why := _why_not(trial, upstream):
                        missing[name] = why
                    else:
                        found[name] = trial.use
        except (OSError, NetlinkFailed) as error:
            refused = Missing(f"this user may not make networks ({_words(error)})", how_to_allow_namespaces())
    if refused is not None:
        return Preflight(Level.LOOPBACK, {}, dict.fromkeys(("netns", *TRIALS), refused))
    level = Level.USERNS if in_user_namespace() else Level.ROOT
    return Preflight(level, {"netns": "networks of our own", **found}, missing)


def _is_administrator() -> bool:
    effective = next(line for line in STATUS.read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_SYS_ADMIN & 1)


def _why_not(trial: Trial, namespace: Namespace) -> Missing | None:
    try:
        trial.attempt(namespace)
    except MissingCapability as error:
        return Missing(error.reason, error.heal)
    except (RulesetRefused, NetlinkFailed, OSError, subprocess.CalledProcessError) as error:
        return Missing(_words(error), trial.heal)
    return None


def _words(error: Exception) -> str:
    """The first line of what was said, without numbers of errors."""
    if isinstance(error, NetlinkFailed):
        return f"the kernel answers: {error.strerror}"
    if isinstance(error, subprocess.CalledProcessError):
        said = (
            error.stderr if isinstance(error.stderr, str) else (error.stderr or b"").decode(errors="replace")
        )
        return said.strip().partition("\n")[0] or f"{error.cmd[0]} ended with {error.returncode}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) + (f": {error.filename}" if error.filename else "")
    return str(error).partition("\n")[0]


def _try_nft(namespace: Namespace) -> None:
    namespace.nft(TRIAL_RULES)


def _try_conntrack(namespace: Namespace) -> None:
    namespace.conntrack("-F")


def _try_udp_rules(namespace: Namespace) -> None:
    routing_rules.hold_udp_back(namespace, ["192.0.2.0/24", "2001:db8::/64"])
    routing_rules.let_udp_pass(namespace)


def _try_nfqueue(namespace: Namespace) -> None:
    queue = [program("iptables-nft"), "-t", "mangle", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num", "1"]
    namespace.call(subprocess.run, queue, check=True, capture_output=True, text=True)


def _try_tbf(namespace: Namespace) -> None:
    namespace.call(_set_queue, "tbf", 0x10000, rate="1mbit", burst=16384, latency="100ms")


def _try_netem(namespace: Namespace) -> None:
    namespace.call(_set_queue, "netem", 0x20000, delay=1000)


def _set_queue(kind: str, handle: int, **settings: object) -> None:
    with open_netlink() as netlink:
        index = socket.if_nametoindex(TRIAL_INTERFACE)
        netlink.tc("replace", kind, index=index, handle=handle, **settings)


def _try_capture(namespace: Namespace) -> None:
    namespace.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def _try_nat64(namespace: Namespace) -> None:
    namespace.call(TUN.open, "r+b", buffering=0).close()
    program("tayga")


@dataclass(frozen=True)
class Trial:
    """Trial that shows if a capability is there."""

    use: str
    attempt: Callable[[Namespace], None]
    heal: str
    """Remedy where no program is missing and the kernel refuses."""


TRIALS = {
    "nft": Trial("NAT, firewalls and counters", _try_nft, "modprobe -a nf_tables nft_chain_nat"),
    "conntrack": Trial("forgetting NAT mappings", _try_conntrack, "modprobe nf_conntrack_netlink"),
    "udp_rules": Trial(
        "blocked UDP without nft",
        _try_udp_rules,
        "use a kernel with CONFIG_IP_MULTIPLE_TABLES, 4.17 or later",
    ),
    "tbf": Trial("links with a rate", _try_tbf, "modprobe sch_tbf"),
    "netem": Trial("links with delay and loss, by the kernel", _try_netem, "modprobe sch_netem"),
    "nfqueue": Trial(
        "links with delay and loss, by a program of ours",
        _try_nfqueue,
        "modprobe -a nfnetlink_queue xt_NFQUEUE",
    ),
    "capture": Trial("packets in files, and counted", _try_capture, "modprobe af_packet"),
    "nat64": Trial(
        "IPv4 servers for devices that have only IPv6", _try_nat64, "run it as root, after modprobe tun"
    ),
}
PROOFS: dict[str, tuple[tuple[str, ...], ...]] = {
    "direct and relayed paths": (("netns", "capture", "nft"), ("netns", "capture", "udp_rules")),
    "kinds of NAT": (("netns", "nft", "conntrack"),),
    "slow and lossy links": (("nfqueue",), ("netem",)),
    "narrow links": (("tbf",),),
    "IPv4 servers for IPv6 alone": (("nft", "conntrack", "nat64"),),
}
"""For people: what can be proven -> ways to it, the best first, each by what it needs."""
