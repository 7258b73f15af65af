"""Actions that `Turn` asks of the shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .allocations import Allocation, Channel, FiveTuple
from .stun import Address

__all__ = ["Action", "AllocationEnded", "AllocationMade", "ChannelEnded", "ChannelMade", "ToClient", "ToPeer"]


@dataclass(frozen=True, slots=True)
class ToClient:
    """Send this STUN message or ChannelData (not padded) to a client."""

    five_tuple: FiveTuple
    data: bytes


@dataclass(frozen=True, slots=True)
class ToPeer:
    """Send a datagram from a relay's socket; `relay` is the address that clients are told."""

    relay: Address
    peer: Address
    payload: bytes
    dont_fragment: bool = False
    """Nobody on the way may fragment it: it is lost where it does not fit (RFC 8656, section 15)."""


@dataclass(frozen=True, slots=True)
class AllocationMade:
    allocation: Allocation


@dataclass(frozen=True, slots=True)
class AllocationEnded:
    """Its relay sockets are closed already."""

    allocation: Allocation


@dataclass(frozen=True, slots=True)
class ChannelMade:
    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelEnded:
    channel: Channel


Action: TypeAlias = ToClient | ToPeer | AllocationMade | AllocationEnded | ChannelMade | ChannelEnded
