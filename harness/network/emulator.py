"""A link that delays, loses and reorders, as a process of its own: it decides on the packets of an NFQUEUE.

    python -P -m harness.network.emulator OUTER QUEUE CONDITIONS

OUTER is the upstream's interface of the link: what comes in by it goes up, the rest of the queue goes down. CONDITIONS
is JSON, {"up": {...}, "down": {...}} with the fields of `Conditions`. When ready, after each line on stdin and at its
end it says in one line of JSON how many packets were dropped, {"up": 0, "down": 0, "overflow": 0}. When stdin ends it
lets go everything that is on its way. If it dies, the kernel drops every packet: nothing passes unnoticed.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import nfqueue
from .schedule import Conditions, PacketVerdict, Schedule

__all__ = ["main"]

NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_NO_ENOBUFS = 270, 5
MOST_WAITING = 8192
"""Packets on their way in both directions: 40 Mbit/s of packets of 1000 bytes for 1.6 s."""
RECEIVE_BUFFER = 1 << 22
SO_RCVBUFFORCE = 33
DATAGRAM = 1 << 16
QUEUES = Path("/proc/self/net/netfilter/nfnetlink_queue")


class Emulator:
    """One queue, and a schedule for each direction."""

    def __init__(self, outer: str, queue: int, up: Conditions, down: Conditions) -> None:
        """Raises `OSError` where the kernel has no such queues, or somebody else decides on this one."""
        self.queue = queue
        self._outer = socket.if_nametoindex(outer)
        self.up, self.down = Schedule(up), Schedule(down)
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._kernel.bind((0, 0))
        try:
            self._kernel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:  # in a user namespace
            self._kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        # What does not fit the buffer is counted by the kernel and reported as overflow.
        self._kernel.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
        for request in (nfqueue.bind_request(queue), nfqueue.limit_request(queue, MOST_WAITING)):
            self._kernel.send(request)
        acknowledged = 0
        while acknowledged < 3:
            for answer in nfqueue.parse(self._kernel.recv(DATAGRAM)):
                if isinstance(answer, nfqueue.Acknowledgement):
                    if answer.number:
                        raise OSError(answer.number, f"{os.strerror(answer.number)}: NFQUEUE {queue}")
                    acknowledged += 1
        self._kernel.setblocking(False)

    def run(self) -> None:
        """Until stdin ends."""
        self._report()
        while True:
            now = time.monotonic()
            for schedule in (self.up, self.down):
                self._decide(*schedule.due(now))
            due = [each for each in (self.up.next_at(), self.down.next_at()) if each is not None]
            patience = max(0.0, min(due) - time.monotonic()) if due else None
            readable, _, _ = select.select([self._kernel, sys.stdin], [], [], patience)
            if self._kernel in readable:
                self._take()
            if sys.stdin in readable:
                asked = os.read(sys.stdin.fileno(), DATAGRAM)
                if not asked:
                    break
                for _ in range(asked.count(b"\n")):
                    self._report()
        while self._take():
            pass
        self._decide(*self.up.rest(), *self.down.rest())
        self._report()

    def _take(self) -> bool:
        """Take packets from the kernel; False when it has none."""
        try:
            datagram = self._kernel.recv(DATAGRAM)
        except BlockingIOError:
            return False
        now = time.monotonic()
        for packet in nfqueue.parse(datagram):
            if isinstance(packet, nfqueue.QueuedPacket):
                schedule = self.up if packet.came_in_by == self._outer else self.down
                if verdict := schedule.arrived(packet.number, now):
                    self._decide(verdict)
        return True

    def _decide(self, *verdicts: PacketVerdict) -> None:
        for each in verdicts:
            self._kernel.send(nfqueue.verdict_request(self.queue, each.packet, accept=each.accept))

    def _report(self) -> None:
        lost = {"up": self.up.lost, "down": self.down.lost, "overflow": self._overflow()}
        sys.stdout.write(json.dumps(lost) + "\n")
        sys.stdout.flush()

    def _overflow(self) -> int:
        """Packets that the kernel dropped because too many waited."""
        for line in QUEUES.read_text().splitlines():
            number, _port, _waiting, _mode, _range, queue_dropped, user_dropped, *_ = map(int, line.split())
            if number == self.queue:
                return queue_dropped + user_dropped
        raise LookupError(f"{QUEUES} has no queue {self.queue}")


def main(arguments: Sequence[str]) -> int:
    outer, queue, conditions = arguments
    ways = {way: Conditions(**fields) for way, fields in json.loads(conditions).items()}
    Emulator(outer, int(queue), ways["up"], ways["down"]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
