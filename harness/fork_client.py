"""Program that stands for a process of the fork server: `fork_client.py SOCKET PROGRAM [ARGUMENTS]`.

Hands over what a process has of the one that starts it, passes signals on, and ends as the process does. It is run
without site-packages and loads little (no pathlib), because a start of it is to cost nothing.
"""

import array
import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
NAMESPACES = ("user", "mnt", "net")


def main() -> None:
    path, program, *arguments = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until the request is on its way
    files = [number for number in map(int, os.listdir("/proc/self/fd")) if _is_open(number)]  # noqa: PTH208
    namespaces = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in NAMESPACES]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    connection.connect(path)
    request = {
        "program": program,
        "arguments": arguments,
        "directory": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
        "files": files,
        "namespaces": NAMESPACES,
    }
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*files, *namespaces]))
    connection.sendmsg([json.dumps(request).encode()], [rights])

    def pass_on(number: int, _frame: object) -> None:
        try:
            connection.send(bytes([number]))
        except OSError:  # the process has ended
            return

    for number in FORWARDED:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    ended = connection.recv(16)
    code = int(ended) if ended else 1  # the fork server has died
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_open(number: int) -> bool:
    """Not so the one that listed them."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


main()
