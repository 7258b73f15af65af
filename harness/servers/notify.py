"""The socket to which a service says that it is ready, as it does to systemd (sd_notify(3))."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from ..closing import Closing
from ..hosts import Host
from .server import ServerError

__all__ = ["NotifySocket"]

LARGEST_MESSAGE = 4096


class NotifySocket(Closing):
    """Reads `READY=1`; everything else that a service tells systemd is ignored."""

    def __init__(self, host: Host, path: Path) -> None:
        """`path`: where it is made. Raises `ServerError` where there can be none."""
        self._path = path
        self._ready = False
        self._socket = host.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise ServerError(f"no socket for NOTIFY_SOCKET can be made at {path}: {error}") from error
        self._socket.setblocking(False)

    @property
    def environment(self) -> dict[str, str]:
        """For the service."""
        return {"NOTIFY_SOCKET": str(self._path)}

    def is_ready(self) -> bool:
        """The service has said so since the last `forget`."""
        with contextlib.suppress(BlockingIOError):
            while message := self._socket.recv(LARGEST_MESSAGE):
                self._ready = self._ready or b"READY=1" in message.splitlines()
        return self._ready

    def forget(self) -> None:
        """Begin again, before another start."""
        self.is_ready()
        self._ready = False

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)
