"""Conditions of a link: a rate by tbf; delay, jitter, loss and reordering by netem, or by our own emulator.

    with apply(link, up=Conditions(loss=0.05, seed=7), down=Conditions(delay_ms=100)) as conditions:
        ...
        conditions.lost()

netem is used where the kernel has it and it can do the same: it has no seed before Linux 6.6, and its jitter reorders.
What has a seed or jitter, and everything on a kernel without netem, goes through an NFQUEUE to our emulator.
"""

from __future__ import annotations

import errno
import itertools
import json
import select
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ..hosts import MissingCapability, end_process
from ..waiting import wait_until
from .links import Link
from .namespace import Namespace, program
from .netlink import NetlinkFailed, open_netlink
from .schedule import Conditions

__all__ = ["Applied", "Conditions", "EmulatorFailed", "Lost", "apply"]

LinkDirection = Literal["up", "down"]

ORDINARY = Conditions()
NOTHING_LOST: dict[LinkDirection, int] = {"up": 0, "down": 0}
TC_H_ROOT = 0xFFFFFFFF
"""The root of a link, of <linux/pkt_sched.h>."""
ROOT_HANDLE, CHILD_HANDLE = 0x10000, 0x20000
"""netem stands at the root of an interface and tbf below it, or tbf alone at the root."""
NETEM_CLASS = ROOT_HANDLE | 1
NETEM_LIMIT = 8192
"""Packets on their way, as in the emulator."""
QUEUE_SECONDS, LEAST_QUEUE = 0.1, 3200
BURST_SECONDS, LEAST_BURST = 0.02, 3200
"""Bytes at the least: two packets of an ordinary size."""
QUEUES = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
TABLE_PROGRAMS = ("iptables-nft", "ip6tables-nft")
"""`nft` has no word for NFQUEUE on kernels without CONFIG_NFT_QUEUE; the rules of these have."""
EMULATOR_COMMAND = (sys.executable, "-P", "-m", "harness.network.emulator")
MOST_WORDS = 4096
EMULATOR_WITHIN = 20.0
"""Seconds for the emulator to start or to answer; it does either in well under one."""


class EmulatorFailed(Exception):
    """It died, and the link passes nothing since then; or it was too slow. What was measured there means nothing."""


@dataclass(frozen=True)
class Lost:
    """Packets in one direction that the lab itself dropped, by where the counters at the link's outer end stand."""

    between: int
    """Between two links' counters: a host was counted to send them, and nobody to get them."""
    outside: int
    """In a queue of the interface: on the way up they were not counted yet, on the way down they were already."""

    @property
    def packets(self) -> int:
        return self.between + self.outside


def apply(link: Link, *, up: Conditions = ORDINARY, down: Conditions = ORDINARY) -> Applied:
    """Make a link slow or lossy until `remove`, or until the end of the `with` block.

    `up` is what the host sends, `down` what it gets. Packets between the host and its upstream itself are not delayed.
    Remove them before a device moves: they belong to the link, and with it goes the account of what was lost.
    Raises `MissingCapability` for "tbf", or for "nfqueue" where the kernel has neither netem nor that, and
    `ValueError` on a link that has conditions already.
    """
    return Applied(link, up, down)


class Applied:
    """Conditions that a link has now."""

    def __init__(self, link: Link, up: Conditions, down: Conditions) -> None:
        self.link = link
        self._open = ExitStack()
        self._emulator: _Emulator | None = None
        self._interfaces: dict[LinkDirection, _Interface] = {
            "up": _Interface(link.downstream, link.inner),
            "down": _Interface(link.upstream, link.outer),
        }
        with ExitStack() as undo:
            emulated: dict[LinkDirection, Conditions] = {"up": ORDINARY, "down": ORDINARY}
            wanted: dict[LinkDirection, Conditions] = {"up": up, "down": down}
            for way, conditions in wanted.items():
                interface = self._interfaces[way]
                undo.callback(interface.clear)
                if not interface.add_netem(conditions):
                    emulated[way] = conditions
                if conditions.rate_kbit is not None:
                    interface.add_rate(conditions.rate_kbit)
            if not all(each.only_rate for each in emulated.values()):
                self._emulator = _Emulator(link, **emulated)
                undo.callback(self._emulator.close)
            self._open = undo.pop_all()

    @property
    def emulator_pid(self) -> int | None:
        """None where the kernel does it all."""
        return self._emulator.process.pid if self._emulator else None

    def lost(self) -> dict[LinkDirection, Lost]:
        """Traffic that the lab has dropped since `apply`, until `remove`. Raises `EmulatorFailed`."""
        between = self._emulator.lost() if self._emulator else NOTHING_LOST
        return {way: Lost(between[way], interface.dropped()) for way, interface in self._interfaces.items()}

    def remove(self) -> None:
        """The link is ordinary again. A second call does nothing.

        What the emulator delayed arrives now; what waited in the queue of an interface, for its rate or in netem, is
        lost and counted. Raises `EmulatorFailed`.
        """
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.remove()


class _Interface:
    """One end of a link, and what waits there to be sent: at most one netem, one tbf, or a tbf below a netem."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        self._namespace = namespace
        self._name = name
        self._root: str | None = None
        self._dropped_before = 0

    def add_netem(self, conditions: Conditions) -> bool:
        """False where netem is not needed, is not there, or cannot do the same."""
        if conditions.only_rate or conditions.jitter_ms or conditions.seed is not None:
            return False
        try:
            self._add(
                "netem",
                limit=NETEM_LIMIT,
                delay=round(conditions.delay_ms * 1000),
                loss=conditions.loss * 100,
                prob_reorder=conditions.reorder * 100,
            )
        except MissingCapability:
            return False
        return True

    def add_rate(self, kbit: int) -> None:
        per_second = kbit * 1000 / 8
        burst = max(LEAST_BURST, int(per_second * BURST_SECONDS))
        limit = max(LEAST_QUEUE, int(per_second * QUEUE_SECONDS))
        self._add("tbf", rate=f"{kbit}kbit", burst=burst, limit=limit)

    def dropped(self) -> int:
        """Packets since the first `add`; netem counts what is dropped below it as well."""
        return self._dropped_before + (self._statistics("drops") if self._root else 0)

    def clear(self) -> None:
        if self._root:
            self._dropped_before = self.dropped() + self._statistics("qlen")
            self._root = None
            self._tc("del", parent=TC_H_ROOT)

    def _add(self, kind: str, **options: Any) -> None:
        place = {"handle": CHILD_HANDLE, "parent": NETEM_CLASS} if self._root else {"handle": ROOT_HANDLE}
        try:
            self._tc("add", kind, **place, **options)
        except NetlinkFailed as error:
            if error.errno == errno.ENOENT:
                reason = f"this kernel has no queueing discipline {kind}"
                raise MissingCapability(kind, reason, heal=f"modprobe sch_{kind}") from None
            if error.errno == errno.EEXIST:
                raise ValueError(f"{self._name} in {self._namespace.name} has conditions already") from None
            raise
        self._root = self._root or kind

    def _tc(self, *arguments: Any, **options: Any) -> None:
        def run() -> None:
            with open_netlink() as netlink:
                index = socket.if_nametoindex(self._name)
                netlink.tc(*arguments, index=index, **options)

        self._namespace.call(run)

    def _statistics(self, name: str) -> int:
        def run() -> int:
            with open_netlink() as netlink:
                index = socket.if_nametoindex(self._name)
                (root,) = (each for each in netlink.get_qdiscs(index=index) if each["handle"] == ROOT_HANDLE)
                return int(root.get_nested("TCA_STATS2", "TCA_STATS_QUEUE")[name])

        return self._namespace.call(run)


class _Emulator:
    """`harness.network.emulator` for one link, and the rules that send it packets."""

    def __init__(self, link: Link, *, up: Conditions, down: Conditions) -> None:
        self._link = link
        self._last = NOTHING_LOST
        self._closed = False
        self._refuse_second()
        with ExitStack() as undo:
            self.process = link.upstream.popen(
                [
                    *EMULATOR_COMMAND,
                    link.outer,
                    str(link.number),
                    json.dumps({"up": asdict(up), "down": asdict(down)}),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                process_group=0,  # Ctrl-C in the terminal is for the harness, which then ends it
            )
            undo.callback(self._end)
            self._hear()  # packets are sent to it only when it is there
            for table_program, direction in itertools.product(TABLE_PROGRAMS, ("-i", "-o")):
                self._hook(table_program, "-A", direction)
                undo.callback(self._hook, table_program, "-D", direction)
            self._undo = undo.pop_all()

    def lost(self) -> dict[LinkDirection, int]:
        if not self._closed:
            self._say(b"\n")
            self._hear()
        return self._last

    def close(self) -> None:
        self._closed = True
        self._undo.close()

    def _end(self) -> None:
        """Let it send off what is on its way, and keep its last word."""
        with self.process as process:
            try:
                if process.poll() is not None:
                    raise EmulatorFailed(self._last_words())
                assert process.stdin is not None
                process.stdin.close()
                self._hear()
            finally:
                end_process(process, patience=EMULATOR_WITHIN)

    def _say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line)
        except BrokenPipeError:
            raise EmulatorFailed(self._last_words()) from None

    def _hear(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        wait_until(
            lambda: select.select([stdout], [], [], 0)[0],
            f"the emulator of {self._link.outer} in {self._link.upstream.name} to answer",
            within=EMULATOR_WITHIN,
        )
        line = stdout.readline()
        if not line:
            raise EmulatorFailed(self._last_words())
        said = json.loads(line)
        if said["overflow"]:
            raise EmulatorFailed(
                f"{said['overflow']} packets were too many for the emulator of {self._link.outer}"
            )
        self._last = {"up": said["up"], "down": said["down"]}

    def _last_words(self) -> str:
        code = self.process.wait(EMULATOR_WITHIN)
        assert self.process.stderr is not None
        words = self.process.stderr.read(MOST_WORDS).decode(errors="replace").strip()
        return f"the emulator of {self._link.outer} ended with {code}: {words.rpartition(chr(10))[2]}"

    def _refuse_second(self) -> None:
        try:
            queues = self._link.upstream.call(QUEUES.read_text)
        except FileNotFoundError:
            raise MissingCapability(
                "nfqueue",
                "this kernel has neither netem for this nor NFQUEUE",
                heal="modprobe nfnetlink_queue",
            ) from None
        if any(line.split()[0] == str(self._link.number) for line in queues.splitlines()):
            raise ValueError(f"{self._link.outer} in {self._link.upstream.name} has conditions already")

    def _hook(self, table_program: str, action: str, direction: str) -> None:
        queue = str(self._link.number)
        rule = ["FORWARD", direction, self._link.outer, "-j", "NFQUEUE", "--queue-num", queue]
        try:
            command = [program(table_program), "-w", "-t", "mangle", action, *rule]
        except MissingCapability as error:
            raise MissingCapability("nfqueue", error.reason, heal=error.heal) from None
        done = self._link.upstream.call(subprocess.run, command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = f"{table_program} says: {' '.join(done.stderr.split())}"
            raise MissingCapability("nfqueue", reason, heal="modprobe xt_NFQUEUE")
