"""A network namespace that is held by a descriptor and entered by one thread.

It has no name that could collide and nothing to clean up: when the thread ends, also by kill -9, its children are
killed and the kernel removes the namespace with everything in it.
"""

from __future__ import annotations

import ctypes
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ..closing import Closing
from ..hosts import MissingCapability, end_process

__all__ = ["Namespace", "NamespaceClosed", "RulesetRefused", "in_user_namespace", "program"]

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
# The kernel sends this signal when the thread that started the program ends; ours lives as long as its namespace.
WITH_ITS_THREAD = ("--pdeathsig", signal.SIGKILL.name.removeprefix("SIG"), "--")
KILL_PATIENCE = 10.0
"""Seconds that the kernel, and a `keeper`, get to end what was killed."""

PACKAGES = {
    "dovecot": "dovecot-imapd dovecot-lmtpd",
    "turnserver": "coturn",
    "nft": "nftables",
    "iptables-nft": "iptables",
    "ip6tables-nft": "iptables",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
"""Debian's names of what has a program that we start, where it is another."""

_libc = ctypes.CDLL(None, use_errno=True)


def program(name: str) -> str:
    """Path of a program of the system, also for users whose PATH lacks `sbin`. Raises `MissingCapability`."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        package = PACKAGES.get(name, name)
        raise MissingCapability(name, f"{name} is not installed", heal=f"apt-get install {package}")
    return found


class RulesetRefused(Exception):
    """`nft` did not take a ruleset. The text has its words."""


class NamespaceClosed(Exception):
    """A network that is gone was asked to do something."""


class Namespace(Closing):
    """A network of its own, with mounts of its own; both are those of one thread and of what it starts."""

    def __init__(self, name: str) -> None:
        """Raises `OSError` where this user may not make namespaces."""
        self.name = name
        self._programs: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._replaced: set[Path] = set()
        self._closing = threading.Lock()
        self._closed = False
        entered: Future[int] = Future()
        # A daemon: whoever forgets to close a lab is not kept from ending.
        self._thread = threading.Thread(target=self._live, args=(entered,), name=f"netns {name}", daemon=True)
        self._thread.start()
        self.fd = entered.result()
        """File descriptor by which programs like pyroute2 know the namespace."""

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function inside, and return or raise what it does. Raises `NamespaceClosed`."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function(*args, **kwargs))
            except BaseException as error:
                done.set_exception(error)

        with self._closing:  # nothing is put behind the last piece of work, where nobody would do it
            if self._closed:
                raise NamespaceClosed(f"the network of {self.name} is closed")
            self._work.put(run)
        return done.result()

    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        """Start a program inside; it is killed when the namespace is closed. `kwargs`: those of `subprocess.Popen`.

        Raises `MissingCapability` without the program `setpriv`.
        """

        def start() -> subprocess.Popen[bytes]:
            process = subprocess.Popen([program("setpriv"), *WITH_ITS_THREAD, *args], **kwargs)
            self._programs.add(process)  # here, so that `close` has all of them when this thread has ended
            return process

        return self.call(start)

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """A socket that belongs to this network, wherever it is used."""
        return self.call(socket.socket, family, kind)

    def sysctl(self, values: Mapping[str, int]) -> None:
        """Set `net/...` here, one after the other."""

        def write() -> None:
            for name, value in values.items():
                Path("/proc/sys", name).write_text(str(value))

        self.call(write)

    def nft(self, ruleset: str) -> None:
        """Add rules, all or none. Raises `RulesetRefused`."""
        self._run_nft("-f", "-", stdin=ruleset)

    def nft_json(self, *command: str) -> str:
        """Answer of `nft -j` to a command."""
        return self._run_nft("-j", *command)

    def conntrack(self, *arguments: str) -> str:
        """Output of the program `conntrack`, asked about the flows of this network."""
        done = self.call(
            subprocess.run, [program("conntrack"), *arguments], capture_output=True, text=True, check=True
        )
        return str(done.stdout)

    @property
    def entrance(self) -> str:
        """A command line for people, who look around inside while this process lives."""
        spaces = f"/proc/{os.getpid()}/task/{self._thread.native_id}/ns"
        user = f"--user={spaces}/user --preserve-credentials " if in_user_namespace() else ""
        return f"nsenter {user}--net={spaces}/net --mount={spaces}/mnt"

    def replace_file(self, path: Path, by: Path) -> None:
        """Let programs inside see the file `by` at `path`; whatever stood in its place before is taken away."""
        if path in self._replaced:
            self.call(_unmount, str(path))  # nothing can be mounted over a file that was removed meanwhile
        self.call(_mount, str(by), str(path), MS_BIND)
        self._replaced.add(path)

    def close(self) -> None:
        """End the programs inside and give the namespace up. A second call does nothing."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._work.put(None)
        self._thread.join()
        for program in self._programs:
            end_process(program, patience=KILL_PATIENCE)  # a keeper kills first what is its own
        os.close(self.fd)

    def _run_nft(self, *arguments: str, stdin: str = "") -> str:
        done = self.call(
            subprocess.run,
            [program("nft"), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RulesetRefused(f"nft in {self.name}: {done.stderr.strip()}\n{stdin}")
        return str(done.stdout)

    def _live(self, entered: Future[int]) -> None:
        try:
            _check(_libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
            _mount("none", "/", MS_REC | MS_PRIVATE)  # what is mounted here stays here
            entered.set_result(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except BaseException as error:
            entered.set_exception(error)
            return
        while (work := self._work.get()) is not None:
            work()


def in_user_namespace() -> bool:
    """True if we are root in a user namespace only, in which user 0 is somebody else."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]


def _mount(source: str, target: str, flags: int) -> None:
    _check(_libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None))


def _unmount(target: str) -> None:
    _check(_libc.umount2(target.encode(), MNT_DETACH))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
