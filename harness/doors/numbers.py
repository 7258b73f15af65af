"""Numbers on a command line, as types of `argparse`."""

from __future__ import annotations

import argparse

__all__ = ["from_one"]


def from_one(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text[:20]} is no number of at least 1")
    return int(text)
