"""Memory of large messages, given back to the system when they are gone."""

from __future__ import annotations

import ctypes

__all__ = ["return_large_blocks"]

M_MMAP_THRESHOLD = -3
"""glibc's malloc.h."""
LARGE = 1 << 20
"""Bytes."""


def return_large_blocks() -> None:
    """Let each large block be a mapping of its own, which ends with it.

    glibc would raise this limit to the size of the largest message that it has seen, and from then on keep free what
    messages leave. Without glibc there is nothing to be done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
