"""Node IDs: raw ed25519 public keys of 32 bytes, as text 64 lower-case hex digits.

Upstream (curve25519-dalek) decodes every key of every frame into a curve point and treats a failure as a broken
frame. `cryptography` checks no more than the length, so the point test of RFC 8032, section 5.1.3, stands here.
"""

from __future__ import annotations

import base64

__all__ = ["KEY_LENGTH", "is_point", "is_small_order", "parse_node_id"]

KEY_LENGTH = 32
BASE32_LENGTH = 52
HEX = frozenset("0123456789abcdef")

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN = 1 << 255
_Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset({0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})


def _y(key: bytes) -> int:
    return int.from_bytes(key, "little") % _SIGN % _P


def is_point(key: bytes) -> bool:
    """True when 32 bytes decode to a point of edwards25519: (y^2 - 1) / (d y^2 + 1) must be a square.

    As in dalek, a y that is not reduced and the sign bit of x = 0 are tolerated. Costs about 0.1 ms: cache the answer.
    """
    squared = pow(_y(key), 2, _P)
    # u/v is a square exactly when u*v is one (Euler's criterion), and v is never 0.
    return pow((squared - 1) * (_D * squared + 1), (_P - 1) // 2, _P) in (0, 1)


def is_small_order(key: bytes) -> bool:
    """True when the point lies in the 8-torsion: anybody can make signatures that fit such a key."""
    return _y(key) in _SMALL_ORDER


def parse_node_id(text: str) -> bytes:
    """64 hex digits in lower case, or 52 characters of base32 (RFC 4648, no padding, any case), to the key.

    Raises ValueError when they are none, or name no curve point.
    """
    is_base32 = len(text) == BASE32_LENGTH
    if not is_base32 and set(text) - HEX:
        raise ValueError("a node ID in hex has digits and small letters from a to f")
    key = base64.b32decode(text.upper() + "====") if is_base32 else bytes.fromhex(text)
    if len(key) != KEY_LENGTH:
        raise ValueError(
            f"a node ID has 64 hex digits or {BASE32_LENGTH} characters of base32, this one has {len(text)}"
        )
    if not is_point(key):
        raise ValueError("these 32 bytes are not an ed25519 public key")
    return key
