"""Program that has loaded the modules of our programs, and forks a process of them for each `fork_client`."""

from __future__ import annotations

import array
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

__all__ = ["LISTENER"]

LISTENER = "DC_FORK_SERVER_LISTENER"
"""Environment variable with the descriptor of the socket where clients connect."""
LONGEST_REQUEST = 1 << 20
MOST_FILES = 64
HIGH = 500
"""Files of a request wait from this descriptor on until the lower ones are free."""
TYPES = {"user": 0x10000000, "mnt": 0x00020000, "net": 0x40000000}
"""CLONE_NEW... of linux/sched.h, in the order in which they can be entered."""
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Serve until stdin ends. The modules are loaded with the first request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which then ends us
    listener = socket.socket(fileno=int(os.environ.pop(LISTENER)))
    with selectors.DefaultSelector() as selector:

        def accept() -> None:
            load(*sys.argv[1:])
            Forked(listener.accept()[0], selector)

        selector.register(sys.stdin, selectors.EVENT_READ, sys.exit)
        selector.register(listener, selectors.EVENT_READ, accept)
        while True:
            for key, _events in selector.select():
                key.data()


@functools.cache
def load(*modules: str) -> None:
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


class Forked:
    """A process made for a client. Their connection lasts as long as both."""

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        self._connection = connection
        self._selector = selector
        content, ancillary, _flags, _address = connection.recvmsg(
            LONGEST_REQUEST, socket.CMSG_LEN(MOST_FILES * 4)
        )
        received = array.array("i")
        for _level, _kind, data in ancillary:
            received.frombytes(data)
        self._pid = os.fork()
        if self._pid == 0:
            _become(json.loads(content), list(received))
        for descriptor in received:
            os.close(descriptor)
        self._descriptor = os.pidfd_open(self._pid)
        selector.register(connection, selectors.EVENT_READ, self._signalled)
        selector.register(self._descriptor, selectors.EVENT_READ, self._ended)

    def _signalled(self) -> None:
        """A signal that the client got, or the end of a client that was killed."""
        if number := self._connection.recv(1):
            os.kill(self._pid, number[0])
        else:
            os.kill(self._pid, signal.SIGKILL)
            self._selector.unregister(self._connection)

    def _ended(self) -> None:
        _pid, status = os.waitpid(self._pid, 0)
        with suppress(OSError):
            self._connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        with suppress(KeyError):
            self._selector.unregister(self._connection)
        self._selector.unregister(self._descriptor)
        self._connection.close()
        os.close(self._descriptor)


def _become(request: dict[str, Any], received: list[int]) -> NoReturn:
    """The life of a forked process: what it was handed takes the place of what it has of us."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        files = [fcntl.fcntl(each, fcntl.F_DUPFD, HIGH) for each in received]
        os.closerange(3, HIGH)
        _enter(dict(zip(request["namespaces"], files[len(request["files"]) :], strict=True)))
        for number, file in zip(request["files"], files, strict=False):
            os.dup2(file, number)
        os.closerange(HIGH, HIGH + 2 * MOST_FILES)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(request["directory"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [request["program"], *request["arguments"]]
        code = _program(request["program"])()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # nothing is taken apart that ends anyway


def _program(name: str) -> Callable[[], int]:
    match name:
        case "reference_server":
            from reference_server.__main__ import main as serve

            return serve
        case "mutants":
            from mutants.__main__ import main as mutate

            return lambda: mutate(sys.argv[1:])
        case "fake_server":
            from tests.reference_server.fake_server import main as pretend

            return pretend
        case "harness.calls.agent_program":
            from harness.calls.agent_program import main as call

            return call
    raise LookupError(name)


def _enter(namespaces: dict[str, int]) -> None:
    for name, kind in TYPES.items():
        ours = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        if not os.path.sameopenfile(namespaces[name], ours) and _libc.setns(namespaces[name], kind) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the {name} namespace of the client")
        os.close(ours)


if __name__ == "__main__":
    main()
