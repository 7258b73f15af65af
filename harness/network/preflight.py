"""What this machine can do for a lab, found by trying; no version is read and no setting believed.

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

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ..hosts import MissingCapability
from .links import connect, prepare
from .namespace import Namespace, RulesetRefused, in_user_namespace, program

__all__ = ["Level", "Preflight", "enter_user_namespace", "preflight"]

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
    """How much of a lab can be had."""

    ROOT = "root"
    USERNS = "userns"
    LOOPBACK = "loopback"


@dataclass(frozen=True)
class Preflight:
    """What was found."""

    level: Level
    found: dict[str, str]
    """Capability -> what it is good for."""
    missing: dict[str, str]
    """Capability -> why it is missing."""

    def require(self, *capabilities: str) -> None:
        """Raises `MissingCapability` for the first that is not there."""
        for capability in capabilities:
            if capability in self.missing:
                raise MissingCapability(capability, self.missing[capability])

    def sentences(self) -> list[str]:
        """For the head of a report: what can be had, and for everything else why not."""
        if not self.found:
            return [f"lab: level {self.level}, no networks of our own: {self.missing['netns']}"]
        can = f"lab: level {self.level}, {', '.join(f'{name} ({use})' for name, use in self.found.items())}"
        return [can, *(f"lab: without {name}: {reason}" for name, reason in self.missing.items())]


def enter_user_namespace() -> str | None:
    """Become root in a user namespace, where that is needed to make networks; None, or why it did not work.

    To be called before the first thread starts: the kernel refuses it to a process with threads.
    """
    if not STATUS.exists():
        return "this is not Linux"
    if _is_administrator():
        return None
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        return "this process had threads already when it was asked to enter a user namespace"
    # Tried in a child first: where it is forbidden half, there would be no way back for this process.
    trial = ["unshare", "--user", "--map-root-user", "--net", "--mount", "true"]
    user, group = os.geteuid(), os.getegid()
    try:
        subprocess.run(trial, capture_output=True, text=True, check=True)
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
            raise OSError(ctypes.get_errno(), "unshare was refused")
    except subprocess.CalledProcessError as error:
        return f"this user may not make namespaces: {error.stderr.strip()}"
    except OSError as error:
        return f"this user may not make namespaces: {error}"
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return None


@functools.cache
def preflight() -> Preflight:
    """Try everything, once per process. An ordinary user is in a user namespace afterwards, if that can be."""
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    refused = enter_user_namespace()
    if refused is None:
        try:
            with Namespace("trial") as upstream, Namespace("trial's guest") as guest:
                prepare(upstream, forwards=True)
                connect(upstream, guest, 1, ["192.0.2.1"])
                for name, (use, attempt) in TRIALS.items():
                    if reason := _reason(attempt, upstream):
                        missing[name] = reason
                    else:
                        found[name] = use
        except (OSError, NetlinkError) as error:
            refused = f"this user may not make networks: {error}"
    if refused is not None:
        return Preflight(Level.LOOPBACK, {}, dict.fromkeys(("netns", *TRIALS), refused))
    level = Level.USERNS if in_user_namespace() else Level.ROOT
    return Preflight(level, {"netns": "networks of our own", **found}, missing)


def _is_administrator() -> bool:
    effective = next(line for line in STATUS.read_text().splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_SYS_ADMIN & 1)


def _reason(attempt: Callable[[Namespace], None], namespace: Namespace) -> str | None:
    try:
        attempt(namespace)
    except MissingCapability as error:
        return str(error).removeprefix(f"capability {error.capability}: ")
    except NetlinkError as error:
        return f"the kernel answers: {os.strerror(error.code)}"
    except (RulesetRefused, OSError) as error:
        return str(error).partition("\n")[0]
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip().partition("\n")[0] or str(error)
    return None


def _try_nft(namespace: Namespace) -> None:
    namespace.nft(TRIAL_RULES)


def _try_conntrack(namespace: Namespace) -> None:
    namespace.conntrack("-F")


def _try_nfqueue(namespace: Namespace) -> None:
    queue = [program("iptables-nft"), "-t", "mangle", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num", "1"]
    namespace.call(subprocess.run, queue, check=True, capture_output=True, text=True)


def _try_tbf(namespace: Namespace) -> None:
    namespace.call(_set_queue, "tbf", 0x10000, rate="1mbit", burst=16384, latency="100ms")


def _try_netem(namespace: Namespace) -> None:
    namespace.call(_set_queue, "netem", 0x20000, delay=1000)


def _set_queue(kind: str, handle: int, **settings: object) -> None:
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=TRIAL_INTERFACE)[0]
        netlink.tc("replace", kind, index=index, handle=handle, **settings)


def _try_capture(namespace: Namespace) -> None:
    namespace.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def _try_nat64(namespace: Namespace) -> None:
    namespace.call(TUN.open, "r+b", buffering=0).close()
    program("tayga")


TRIALS: dict[str, tuple[str, Callable[[Namespace], None]]] = {
    "nft": ("NAT, firewalls and counters", _try_nft),
    "conntrack": ("forgetting NAT mappings", _try_conntrack),
    "tbf": ("links with a rate", _try_tbf),
    "netem": ("links with delay and loss, by the kernel", _try_netem),
    "nfqueue": ("links with delay and loss, by a program of ours", _try_nfqueue),
    "capture": ("packets in files", _try_capture),
    "nat64": ("IPv4 servers for devices that have only IPv6", _try_nat64),
}
