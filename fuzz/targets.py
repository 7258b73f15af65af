"""All targets by name, and the inputs that they begin with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from . import clients, server

__all__ = ["CORPUS", "TARGETS", "seeds"]

CORPUS = Path(__file__).parent / "corpus"
TARGETS: Mapping[str, Callable[[bytes], None]] = {**server.TARGETS, **clients.TARGETS}


def seeds(target: str) -> list[bytes]:
    """Inputs in the repository: what is right, and what once was too much for us."""
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir())]
