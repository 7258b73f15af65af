"""Flags as bits: the system's, and the keywords that an account's clients invent (RFC 3501 section 2.3.2)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache

from .mailbox import FLAGS

__all__ = ["MAX_KEYWORDS", "Keywords"]

MAX_KEYWORDS = 50
"""Per account. Further ones are ignored, as RFC 3501 section 7.1 (PERMANENTFLAGS) allows; SQLite has 63 bits."""
MAX_KEYWORD = 100


class Keywords:
    """Reads the table, and adds to it within the transaction of the caller. Spelling is that of the first use."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def of(self, account: int) -> list[str]:
        """In the order of their bits, which begin after those of the system flags."""
        rows = self._db.execute("SELECT name FROM keywords WHERE account = ? ORDER BY bit", (account,))
        return [name for (name,) in rows]

    def have_room(self, account: int) -> bool:
        return len(self.of(account)) < MAX_KEYWORDS

    def reader(self, account: int) -> Callable[[int], frozenset[str]]:
        """From bits to flags, as of now; most messages of a mailbox have the same few."""
        names = (*FLAGS, *self.of(account))
        return cache(lambda bits: frozenset(name for bit, name in enumerate(names) if bits >> bit & 1))

    def bits(self, account: int, flags: frozenset[str], *, create: bool) -> int:
        """Flags that are not kept are left out; with `create` new keywords are made where there is room."""
        known = {name.lower(): 1 << bit for bit, name in enumerate((*FLAGS, *self.of(account)))}
        bits = 0
        for flag in sorted(flags):
            if flag.lower() not in known:
                if not create or not self._may_be_new(flag, len(known) - len(FLAGS)):
                    continue
                bit = len(known)
                self._db.execute("INSERT INTO keywords VALUES (?, ?, ?)", (account, bit, flag))
                known[flag.lower()] = 1 << bit
            bits |= known[flag.lower()]
        return bits

    @staticmethod
    def _may_be_new(flag: str, keywords: int) -> bool:
        return keywords < MAX_KEYWORDS and len(flag) <= MAX_KEYWORD and not flag.startswith("\\")
