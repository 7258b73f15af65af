"""Hosts on which programs run and sockets live.

Everything in `harness` that starts a process or opens a socket takes a `Host`. `LocalHost` is this machine
as it is; those of `harness.network.lab` are network namespaces, where a process or a socket must be made inside.
Nothing else in `harness` may call `subprocess.Popen` or `socket.socket`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import SOCK_STREAM, SocketKind
from typing import IO, Any

__all__ = [
    "WITH_ITS_PARENT",
    "Host",
    "LocalHost",
    "LoopbackHost",
    "MissingCapability",
    "Socket",
    "end_process",
    "how_to_allow_namespaces",
    "output_of",
]

WITH_ITS_PARENT = ("setpriv", "--pdeathsig", signal.SIGKILL.name.removeprefix("SIG"), "--")
"""The kernel sends this signal when the thread that started the program ends."""
_STARTER = ThreadPoolExecutor(1, thread_name_prefix="starter")
"""One thread that lives as long as this process, for programs that must not outlive it."""
MOST_OUTPUT = 1 << 20
"""Bytes."""
IP_BIND_ADDRESS_NO_PORT = 24
"""ip(7); `socket` has no name for it before Python 3.12."""
Socket = socket.socket  # inside a class with a method `socket`, that name means the method


class MissingCapability(Exception):
    """This machine, or this run, cannot do what a check needs: `capability` names it, `reason` says more."""

    def __init__(self, capability: str, reason: str, *, heal: str) -> None:
        """`heal`: the command, or the option, that gives it; people read it behind the reason and a colon."""
        self.capability = capability
        self.reason = reason
        self.heal = heal
        super().__init__(f"capability {capability}: {reason}: {heal}")


BANS_ON_NAMESPACES = {
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
    "kernel/unprivileged_userns_clone": ("0", "1"),
    "user/max_user_namespaces": ("0", "10000"),
}
"""Settings by which machines forbid ordinary users to make namespaces: Ubuntu since 24.04, Debian until 10, all others.

Name below /proc/sys -> the value that forbids, and one that allows.
"""


def how_to_allow_namespaces(settings: Path = Path("/proc/sys")) -> str:
    """The command after which an ordinary user can make networks: what forbids it is looked up in the settings."""
    for name, (forbids, allows) in BANS_ON_NAMESPACES.items():
        with contextlib.suppress(OSError):
            if settings.joinpath(name).read_text().strip() == forbids:
                return f"sudo sysctl -w {name.replace('/', '.')}={allows}"
    return "run it as root, in a container with --privileged"


class Host(ABC):
    """A machine, or a part of one, with its own view of the network."""

    name: str
    address: str
    """The IP address that programs on this host are reached at."""

    @abstractmethod
    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        """Start a program here; `kwargs` are those of `subprocess.Popen`."""

    @abstractmethod
    def start_program(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        """Start a program that the kernel kills when we are gone, even by SIGKILL; otherwise as `popen`."""

    @abstractmethod
    def socket(self, family: socket.AddressFamily, kind: SocketKind) -> Socket:
        """A new socket that belongs to this host's network."""

    def resolve(self, name: str) -> tuple[str, ...]:
        """The addresses that a name (or an address) stands for, as this host sees it, the best first.

        Raises `socket.gaierror`, which is an `OSError`.
        """
        try:
            found = socket.getaddrinfo(name, None, type=SOCK_STREAM)
        except UnicodeError:  # a label that is empty or too long, or what no name has
            raise socket.gaierror(socket.EAI_NONAME, "that is no name of a host") from None
        return tuple(str(each[4][0]) for each in found)

    def addresses_of(self, name: str) -> frozenset[str]:
        """The same, where their order does not matter."""
        return frozenset(self.resolve(name))

    def connect(self, name: str, port: int, *, within: float, kind: SocketKind = SOCK_STREAM) -> Socket:
        """A TCP connection (or a connected UDP socket) to `name`, an address or a name that resolves.

        Each address gets `within` seconds. Raises the `OSError` of the last one when none answers.
        """
        failure: OSError | None = None
        for each in self.resolve(name):
            family, _kind, _proto, _canonical, address = socket.getaddrinfo(
                each, port, type=kind, flags=socket.AI_NUMERICHOST
            )[0]
            connection = self.socket(family, kind)
            try:
                connection.settimeout(within)
                connection.connect(address)
                if kind == SOCK_STREAM:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            except OSError as error:
                connection.close()
                failure = error
        raise failure or OSError(f"{name} has no address")


class LocalHost(Host):
    """This machine, in the network namespace that the harness itself runs in."""

    def __init__(self, address: str = "127.0.0.1", name: str = "local") -> None:
        self.address = address
        self.name = name

    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(args, **kwargs)

    def start_program(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        with_us = WITH_ITS_PARENT if shutil.which(WITH_ITS_PARENT[0]) else ()  # a part of Linux alone
        return _STARTER.submit(self.popen, [*with_us, *args], **kwargs).result()

    def socket(self, family: socket.AddressFamily, kind: SocketKind) -> Socket:
        return socket.socket(family, kind)


class LoopbackHost(LocalHost):
    """This machine as a client with a loopback address of its own, by which servers on this machine know it."""

    def socket(self, family: socket.AddressFamily, kind: SocketKind) -> Socket:
        made = super().socket(family, kind)
        if family == socket.AF_INET:
            made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            made.bind((self.address, 0))
        return made


def end_process(process: subprocess.Popen[bytes], *, patience: float) -> int:
    """End one process and reap it: SIGTERM, and SIGKILL when it is still there after `patience` seconds.

    A process that leads a group of its own is killed with its group, so that its children do not outlive it.
    Returns its exit code. A process that has ended already is only reaped.
    """
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(patience)
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    return process.wait()


def output_of(host: Host, command: Sequence[str | Path], *, within: float, **more: Any) -> tuple[int, str]:
    """Exit code of a program that ends by itself, and the first MiB of what it says on both outputs.

    `more` are arguments of `Host.popen`. Raises `TimeoutError` when it has not ended after `within` seconds. It is
    ended then, with its children.
    """
    until = time.monotonic() + within
    with host.popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
        **more,
    ) as process:
        assert process.stdout is not None
        try:
            said = _read_to_end(process.stdout, until)
            code = process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"it did not end within {within:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            end_process(process, patience=1.0)
    return code, said.decode(errors="replace")


def _read_to_end(pipe: IO[bytes], until: float) -> bytes:
    """The first MiB of what comes until then; the rest is read and forgotten."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    kept = bytearray()
    while (seconds := until - time.monotonic()) > 0 and poll.poll(seconds * 1000):
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            break
        kept += data[: MOST_OUTPUT - len(kept)]
    return bytes(kept)
