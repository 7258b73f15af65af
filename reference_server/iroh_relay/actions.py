"""Actions that the hub asks of the shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .client import Client

__all__ = ["Action", "AskAccess", "Close", "PauseReading", "ResumeReading", "Write"]


@dataclass(slots=True)  # not frozen: made for every run of packets, and a frozen one takes four times as long
class Write:
    """Write whole frames to the client's connection."""

    client: Client
    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection: after what was written has gone out, or at once. The hub has forgotten the client."""

    client: Client
    flush: bool = True


@dataclass(frozen=True, slots=True)
class AskAccess:
    """Ask the access list about `client.key` and call `Hub.decide`; until then nothing more of it is taken."""

    client: Client


@dataclass(frozen=True, slots=True)
class PauseReading:
    """The client is over its rate limit."""

    client: Client


@dataclass(frozen=True, slots=True)
class ResumeReading:
    """Hand over again what was not taken, then read on."""

    client: Client


Action: TypeAlias = Write | Close | AskAccess | PauseReading | ResumeReading
