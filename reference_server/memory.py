"""Memory of the C library's allocator, for services that move much data in large pieces."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Parameters of mallopt(3)."""
KEPT = 16 * 1024 * 1024
LARGEST = 4 * 1024 * 1024


def keep_freed_memory() -> None:
    """Keep up to 16 MB of freed memory in the process, also of pieces of up to 4 MB.

    By default glibc gives pieces of some 100 kB back to the kernel at once, and the next one is mapped and cleared
    page by page: that took as long as everything else that was done with them. Other C libraries have no such switch.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, KEPT)
