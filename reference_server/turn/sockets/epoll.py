"""The loop that owns every TURN socket: one thread, one epoll.

asyncio's datagram protocol costs five times as much per packet as this does. Other threads hand over work with
`call`; nothing else of the loop may be touched from outside.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

__all__ = ["EpollLoop"]

Result = TypeVar("Result")
Handler = Callable[[int], None]
"""Gets the epoll events of its descriptor."""

CALL_TIMEOUT = 10.0

log = logging.getLogger(__name__)


class EpollLoop:
    """`now` is the monotonic time of the current turn."""

    def __init__(self, *, after: Callable[[], float | None]) -> None:
        """`after` is called at the end of each turn, also of one in which only time has passed, and says when to wake
        up at the latest."""
        self.now = time.monotonic()
        self._after = after
        self._poll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._work: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._running = True
        self._thread = threading.Thread(target=self._run, name="turn", daemon=True)
        self.add(self._wake_read.fileno(), self._wakened)

    # In the loop's thread (or before it starts)

    def add(self, descriptor: int, handler: Handler, events: int = select.EPOLLIN) -> None:
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, events)

    def change(self, descriptor: int, events: int) -> None:
        self._poll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """To be called before the descriptor is closed."""
        del self._handlers[descriptor]
        self._poll.unregister(descriptor)

    # From any other thread

    def start(self) -> None:
        self._thread.start()

    def call(self, work: Callable[[], Result]) -> Result:
        """Run `work` in the loop's thread and return its result; in this one when the loop does not run."""
        if not self._thread.is_alive():
            return work()
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # the caller gets it
                future.set_exception(error)

        self._work.append(run)
        self._wake()
        return future.result(CALL_TIMEOUT)

    def stop(self) -> None:
        """Returns when the thread has ended. The sockets that it served are the caller's to close."""
        self._running = False
        self._wake()
        if self._thread.is_alive():
            self._thread.join()
        self._poll.close()
        self._wake_read.close()
        self._wake_write.close()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it has been woken already
            self._wake_write.send(b"\0")

    def _wakened(self, _events: int) -> None:
        self._wake_read.recv(4096)
        while self._work:
            self._work.popleft()()

    def _run(self) -> None:
        try:
            deadline = self._after()
            while self._running:
                deadline = self._turn(deadline)
        except BaseException:
            # A process that still answers its control socket but relays nothing would hide the fault.
            log.exception("the TURN loop has failed")
            os._exit(1)

    def _turn(self, deadline: float | None) -> float | None:
        patience = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = self._poll.poll(patience)
        self.now = time.monotonic()
        handlers = self._handlers
        for descriptor, events in ready:
            handler = handlers.get(descriptor)
            if handler is not None:  # else: another handler of this turn has closed it
                handler(events)
        return self._after()
