"""Inputs made from others at random, where there is no atheris: quick, the same for one seed, and blind."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

__all__ = ["mutations"]

LONGEST = 64 * 1024
TOKENS = (
    *(b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\xff", b"\xc2\xb2", b"\xd9\xa3", b"\x80"),
    *(b"(", b")", b"[", b"]", b"{", b"}", b"<", b">", b'"', b"\\", b"@", b":", b";", b",", b"=", b"%", b"*"),
    *(b"-1", b"0", b"4294967296", b"18446744073709551616", b"9" * 5000, b"1e999", b"{5}\r\n", b"{5+}\r\n"),
    *(b"(" * 3000, b"[" * 3000, b"{" * 3000, b"a." * 3000, b"=?utf-8?b?", b"?=", b"NIL", b"\x7f\xff\xff\xff"),
)
"""Pieces on which parsers have stumbled."""


def mutations(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Without end."""
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 2, 4, 8))):
            _change(data, seeds, chance)
        yield bytes(data[:LONGEST])


def _change(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    until = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
    match chance.randrange(7):
        case 0:
            data[at:until] = chance.randbytes(until - at)
        case 1:
            del data[at:until]
        case 2:
            data[at:at] = chance.choice(TOKENS)
        case 3:
            data[at:until] = chance.choice(TOKENS)
        case 4:
            data[at:at] = data[at:until] * chance.choice((1, 2, 100))
        case 5:
            other = chance.choice(seeds)
            data[at:] = other[chance.randint(0, len(other)) :]
        case _ if data:
            data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
