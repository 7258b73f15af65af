"""Log-in of generation 0.35: one signed ClientInfo frame, no challenge, no answer.

The signature covers only the protocol number, so it can be replayed by design; the key in it is the node ID.
"""

from __future__ import annotations

from ..signatures import LoginRefused, SignaturePolicy
from .frames import ClientInfo

__all__ = ["PROTOCOL_VERSION", "verify"]

PROTOCOL_VERSION = 3
MAX_VARINT = 10
"""Bytes of the longest LEB128 number of 64 bits."""


def verify(info: ClientInfo, signatures: SignaturePolicy) -> int:
    """The protocol number that the client signed. Raises `LoginRefused`.

    Whether that number is spoken here is asked only after the access check, as upstream does.
    """
    if not signatures.verify(info.key, info.text, info.signature):
        raise LoginRefused("bad signature")
    return _varint(info.text)


def _varint(data: bytes) -> int:
    """postcard's unsigned integer (LEB128); bytes after it are tolerated."""
    value = 0
    for index, byte in enumerate(data[:MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 2**64:
                break
            return value
    raise LoginRefused("the signed message is not a protocol number")
