"""Contents of authenticated requests, read and judged as far as that goes without looking at allocations."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .settings import TurnSettings
from .stun import Address, AddressFamily, Attribute, Error, Message, attribute, xor_decode

__all__ = [
    "AllocateRequest",
    "Refusal",
    "channel_request",
    "lifetime_of",
    "peer_addresses",
    "refresh_family",
]

UDP = 17
CHANNELS = range(0x4000, 0x5000)
CHANNELS_OF_RFC_5766 = range(0x4000, 0x8000)


class Refusal(Exception):
    """The request gets an error response."""

    def __init__(self, error: Error, unknown: Sequence[int] = ()) -> None:
        super().__init__(error.name)
        self.error = error
        self._unknown = unknown

    def attributes(self) -> tuple[bytes, ...]:
        """UNKNOWN-ATTRIBUTES, at most 32 of them: the reply stays small."""
        shown = self._unknown[:32]
        if not shown:
            return ()
        return (attribute(Attribute.UNKNOWN_ATTRIBUTES, struct.pack(f">{len(shown)}H", *shown)),)


@dataclass(frozen=True, slots=True)
class AllocateRequest:
    """RFC 8656, section 7.2. `lifetime` is what will be granted."""

    lifetime: float
    family: AddressFamily
    second_family: bool
    even: bool
    reserve_next: bool
    token: bytes | None

    @classmethod
    def read(cls, message: Message, settings: TurnSettings) -> AllocateRequest:
        """Raises `Refusal`, with the checks in the order of the RFC."""
        transport = message.get(Attribute.REQUESTED_TRANSPORT)
        if transport is None or len(transport) != 4:
            raise Refusal(Error.BAD_REQUEST)
        if transport[0] != UDP:
            raise Refusal(Error.UNSUPPORTED_TRANSPORT)
        token = _sized(message, Attribute.RESERVATION_TOKEN, 8)
        even = _sized(message, Attribute.EVEN_PORT, 1)
        family = _sized(message, Attribute.REQUESTED_ADDRESS_FAMILY, 4)
        second = _sized(message, Attribute.ADDITIONAL_ADDRESS_FAMILY, 4)
        if token is not None and (even, family, second) != (None, None, None):
            raise Refusal(Error.BAD_REQUEST)
        if family is not None and second is not None:
            raise Refusal(Error.BAD_REQUEST)
        wanted = AddressFamily.IPV4 if family is None else _family(family, Error.ADDRESS_FAMILY_NOT_SUPPORTED)
        if token is None and settings.relay_host(wanted) is None:
            raise Refusal(Error.ADDRESS_FAMILY_NOT_SUPPORTED)
        reserve_next = even is not None and bool(even[0] & 0x80)
        if second is not None and (reserve_next or second[0] != AddressFamily.IPV6):
            raise Refusal(Error.BAD_REQUEST)
        lifetime = lifetime_of(message, settings)
        return cls(lifetime, wanted, second is not None, even is not None, reserve_next, token)


def lifetime_of(message: Message, settings: TurnSettings, *, allow_zero: bool = False) -> float:
    """The lifetime that is granted: at least the default, at most the maximum."""
    value = _sized(message, Attribute.LIFETIME, 4)
    if value is None:
        return settings.default_lifetime
    asked = int.from_bytes(value, "big")
    if asked == 0 and allow_zero:
        return 0
    return min(max(asked, settings.default_lifetime), settings.max_lifetime)


def refresh_family(message: Message) -> AddressFamily | None:
    """The family that a Refresh is about; None for all. Raises `Refusal` for one that there is not."""
    value = _sized(message, Attribute.REQUESTED_ADDRESS_FAMILY, 4)
    return None if value is None else _family(value, Error.PEER_ADDRESS_FAMILY_MISMATCH)


def peer_addresses(message: Message) -> list[Address]:
    """One or more peers of CreatePermission; raises `Refusal` for none, or a malformed one."""
    values = message.every(Attribute.XOR_PEER_ADDRESS)
    peers = [_peer(value, message.transaction) for value in values]
    if not peers:
        raise Refusal(Error.BAD_REQUEST)
    return peers


def channel_request(message: Message, settings: TurnSettings) -> tuple[int, Address]:
    """Number and peer of ChannelBind (RFC 8656, section 12.2); raises `Refusal`."""
    number = _sized(message, Attribute.CHANNEL_NUMBER, 4)
    value = message.get(Attribute.XOR_PEER_ADDRESS)
    if number is None or value is None:
        raise Refusal(Error.BAD_REQUEST)
    chosen = int.from_bytes(number[:2], "big")
    peer = _peer(value, message.transaction)
    channels = CHANNELS if settings.strict_channels else CHANNELS_OF_RFC_5766
    if chosen not in channels or peer.port == 0:
        raise Refusal(Error.BAD_REQUEST)
    return chosen, peer


def _family(value: bytes, otherwise: Error) -> AddressFamily:
    try:
        return AddressFamily(value[0])
    except ValueError:
        raise Refusal(otherwise) from None


def _peer(value: bytes, transaction: bytes) -> Address:
    peer = xor_decode(value, transaction)
    if peer is None:
        raise Refusal(Error.BAD_REQUEST)
    return peer


def _sized(message: Message, kind: Attribute, size: int) -> bytes | None:
    """The attribute, or None without it; raises `Refusal` when it has another size."""
    value = message.get(kind)
    if value is not None and len(value) != size:
        raise Refusal(Error.BAD_REQUEST)
    return value
