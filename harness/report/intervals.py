"""Confidence intervals of shares: `18 of 20` says little about the next hundred."""

from __future__ import annotations

import math

__all__ = ["wilson"]

NORMAL_95 = 1.959964
"""Quantile of the normal distribution for a confidence of 95 %."""


def wilson(hits: int, tries: int) -> tuple[float, float]:
    """Bounds of the true share, 0 to 1, with 95 % confidence (Wilson 1927); it holds for few tries, and for none.

    For example 18 of 20 is 0.70 to 0.97.
    """
    if tries == 0:
        return 0.0, 1.0
    share, spread = hits / tries, NORMAL_95**2 / tries
    middle = share + spread / 2
    half = NORMAL_95 * math.sqrt(share * (1 - share) / tries + spread / (4 * tries))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return (0.0 if hits == 0 else low), (1.0 if hits == tries else high)
