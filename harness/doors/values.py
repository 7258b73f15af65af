"""Values on a command line, as types of `argparse`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

__all__ = ["from_one", "results_directory"]

RESULTS = "results.jsonl"


def from_one(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text[:20]} is no number of at least 1")
    return int(text)


def results_directory(text: str | Path) -> Path:
    """A directory without the results of a run, or one that can be made. It is not made here."""
    directory = Path(text)
    if (directory / RESULTS).exists():
        raise argparse.ArgumentTypeError(
            f"{directory} has the results of a run already; name another directory"
        )
    there = directory.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{there} is no directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"nothing can be written in {there}")
    return directory
