"""Kinds of servers that can be started, by the name that `--server` knows them by."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from .compose import compose
from .coturn import Coturn
from .iroh_relay import IrohRelay
from .reference import Reference
from .server import Factory, Server

__all__ = ["SERVERS", "server_of"]


def _reference(path: Path | None) -> Server:
    if path is not None:
        raise ValueError(f"reference is part of this installation: leave {path} out")
    return Reference()


SERVERS: Mapping[str, Factory] = {
    "reference": _reference,
    "coturn": Coturn,
    "iroh-relay": IrohRelay,
}


def server_of(text: str) -> Server:
    """The server that a text such as `reference+coturn+iroh-relay=/usr/local/bin/iroh-relay` names.

    Raises `ValueError` with a sentence.
    """
    return compose([_one(word) for word in text.split("+")])


def _one(word: str) -> Server:
    name, _, path = word.partition("=")
    if name not in SERVERS:
        near = difflib.get_close_matches(name, SERVERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"there is no server {name!r}, there are {', '.join(SERVERS)}{hint}")
    return SERVERS[name](Path(path) if path else None)
