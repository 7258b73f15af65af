"""Program that has loaded some modules, and forks a process of them for each `fork_client` (see `preloaded`).

    python -P -m harness.fork_server MODULE...

Its only thread forks, so no lock of another one stays held in a process that it makes.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

__all__ = ["LISTENER"]

LISTENER = "DC_HARNESS_FORK_LISTENER"
"""Environment variable with the descriptor of the socket where clients connect."""
LONGEST_REQUEST = 1 << 20
MOST_FILES = 64
HIGH = 500
"""Files of a request wait from this descriptor on until the lower ones are free."""
TYPES = {"user": 0x10000000, "mnt": 0x00020000, "net": 0x40000000}
"""CLONE_NEW... of linux/sched.h, in the order in which they can be entered."""
PASSED_ON = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Serve until stdin ends, and whatever was forked: that has its own ways to notice that it is not needed any more.

    The modules are loaded when the first client connects.
    """
    # Those for us are for whoever started us as well, who then ends us. A forked process gets its own once it can.
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    listener = socket.socket(fileno=int(os.environ.pop(LISTENER)))
    path = Path(listener.getsockname())
    with selectors.DefaultSelector() as selector:

        def accept() -> None:
            load(*sys.argv[1:])
            if listener.fileno() >= 0:
                Connection(listener.accept()[0], selector)

        def end() -> None:
            for each in (sys.stdin, listener):
                selector.unregister(each)
            listener.close()  # who comes too late is told so at once

        selector.register(sys.stdin, selectors.EVENT_READ, end)
        selector.register(listener, selectors.EVENT_READ, accept)
        while selector.get_map():
            for key, _events in selector.select():
                key.data()
    _remove(path)


def _remove(path: Path) -> None:
    """The socket and the directory that was made for it, by somebody who may have been killed."""
    with suppress(OSError):
        path.unlink()
        path.parent.rmdir()


@functools.cache
def load(*modules: str) -> None:
    """A program that needs one which is not there says so itself."""
    for name in modules:
        if select.select([sys.stdin], [], [], 0)[0]:
            return  # whoever started us is gone: nothing will need them
        with suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


class Connection:
    """A client, and from its request on the process made for it. The connection lasts as long as both."""

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        self._connection = connection
        self._selector = selector
        self._process: tuple[int, int] | None = None
        """Process ID, and a descriptor that can be read when it has ended."""
        selector.register(connection, selectors.EVENT_READ, self._read)

    def _read(self) -> None:
        """The request, then each signal that the client gets, or the end of a client."""
        if self._connection.fileno() < 0:
            return  # the process has ended in the same moment
        try:
            content, ancillary, _flags, _address = self._connection.recvmsg(
                LONGEST_REQUEST, socket.CMSG_LEN(MOST_FILES * 4)
            )
        except OSError:
            content, ancillary = b"", []
        if not content:
            self._client_gone()
        elif self._process is None:
            self._fork(content, ancillary)
        elif content[0] in PASSED_ON:
            os.kill(self._process[0], content[0])  # it is ours until `_ended` has waited for it

    def _client_gone(self) -> None:
        """A client that was killed; or one that only wanted the modules to be loaded."""
        self._selector.unregister(self._connection)
        if self._process is None:
            self._connection.close()
        else:
            os.kill(self._process[0], signal.SIGKILL)

    def _fork(self, content: bytes, ancillary: list[tuple[int, int, bytes]]) -> None:
        received = array.array("i")
        for _level, _kind, data in ancillary:
            received.frombytes(data)
        pid = os.fork()
        if pid == 0:
            _become(content, list(received))
        for descriptor in received:
            os.close(descriptor)
        self._process = pid, os.pidfd_open(pid)
        self._selector.register(self._process[1], selectors.EVENT_READ, self._ended)

    def _ended(self) -> None:
        assert self._process is not None
        pid, descriptor = self._process
        _pid, status = os.waitpid(pid, 0)
        with suppress(OSError):
            self._connection.send(str(os.waitstatus_to_exitcode(status)).encode())
        with suppress(KeyError):
            self._selector.unregister(self._connection)
        self._selector.unregister(descriptor)
        self._connection.close()
        os.close(descriptor)


def _become(content: bytes, received: list[int]) -> NoReturn:
    """The life of a forked process: what it was handed takes the place of what it has of us."""
    code = 1
    try:
        request = json.loads(content)
        parent = os.getppid()
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(code)  # its end came before
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        os.setpgid(0, 0)
        files = [fcntl.fcntl(each, fcntl.F_DUPFD, HIGH) for each in received]
        os.closerange(3, HIGH)
        _enter(dict(zip(request["namespaces"], files[len(request["files"]) :], strict=True)))
        for number, file in zip(request["files"], files, strict=False):
            os.dup2(file, number)
        os.closerange(HIGH, HIGH + 2 * MOST_FILES)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # entering a user namespace takes it away
        os.chdir(request["directory"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = [request["program"], *request["arguments"]]
        code = importlib.import_module(request["program"]).main()
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # nothing is taken apart that ends anyway


def _enter(namespaces: dict[str, int]) -> None:
    for name, kind in TYPES.items():
        ours = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        if not os.path.sameopenfile(namespaces[name], ours) and _libc.setns(namespaces[name], kind) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the {name} namespace of the client")
        os.close(ours)


if __name__ == "__main__":
    main()
