"""Open files of a service: those that it inherits, and how many it may have."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress

from .errors import ConfigurationError

__all__ = ["adopt_udp_socket", "allow_many_descriptors"]


def adopt_udp_socket(option: str, number: int) -> socket.socket:
    """The inherited UDP socket of this number. Raises `ConfigurationError`, naming the option, when it is none."""
    try:
        adopted = socket.socket(fileno=number)
    except OSError as error:
        raise ConfigurationError(f"{option} {number} is no open socket: {error.strerror}") from error
    if adopted.type != socket.SOCK_DGRAM:
        raise ConfigurationError(f"{option} {number} is not a UDP socket")
    adopted.setblocking(False)
    return adopted


def allow_many_descriptors() -> None:
    """Raise the soft limit, which is 1024 on many systems: each connection is an open file, and a call about six."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
