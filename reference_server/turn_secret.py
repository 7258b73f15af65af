"""The secret that mail and TURN share, and what clients are given of it.

The scheme is the one of draft-uberti-behave-turn-rest-00 with a bare expiry as user name.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable
from pathlib import Path

from .errors import ConfigurationError

__all__ = ["Clock", "make_password", "read_secret", "read_secrets", "turn_line"]

Clock = Callable[[], float]
"""Gives unix seconds."""


def make_password(secret: str, username: str) -> str:
    """The password that belongs to `username`: base64 of HMAC-SHA1."""
    return base64.b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()


def read_secrets(file: Path) -> list[str]:
    """One a line, as it stands there: spaces and any other characters belong to it, its bytes are UTF-8.

    Raises `ConfigurationError`.
    """
    try:
        lines = file.read_bytes().decode().split("\n")
    except OSError as error:
        raise ConfigurationError(f"cannot read a secret from {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"cannot read a secret from {file}: it is no text in UTF-8") from error
    secrets = [line for line in (line.removesuffix("\r") for line in lines) if line]
    if not secrets:
        raise ConfigurationError(f"cannot read a secret from {file}: it has no line with one")
    return secrets


def read_secret(file: Path) -> str:
    """The one secret of a file. Raises `ConfigurationError`, also when there are more."""
    first, *more = read_secrets(file)
    if more:
        raise ConfigurationError(f"cannot read a secret from {file}: it has {1 + len(more)} lines, not one")
    return first


def turn_line(address: str, secret: str, ttl: float, clock: Clock = time.time) -> str:
    """The value of METADATA: `HOST:PORT:EXPIRY:PASSWORD`, valid for `ttl` seconds from now."""
    username = str(int(clock() + ttl))
    return f"{address}:{username}:{make_password(secret, username)}"
