"""The clock of this machine, as its kernel judges it."""

from __future__ import annotations

import ctypes

__all__ = ["is_synchronized"]

TIME_ERROR = 5
"""Of adjtimex(2): the clock is not synchronized."""
SIZE_OF_TIMEX = 512
"""Bytes, more than `struct timex` has anywhere; zeros ask, and change nothing."""


def is_synchronized() -> bool:
    """Something keeps it right (NTP, or the host of a virtual machine); False where nobody is known to."""
    try:
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(SIZE_OF_TIMEX))
    except (OSError, AttributeError):  # no such call: no Linux
        return False
    return 0 <= answer < TIME_ERROR
