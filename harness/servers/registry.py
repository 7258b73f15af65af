"""Kinds of servers that can be started, by the name that `--server` knows them by."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .compose import compose
from .coturn import Coturn
from .dovecot import Dovecot
from .file import FileServer
from .iroh_relay import IrohRelay
from .madmail import Madmail
from .reference import Reference
from .server import Factory, Server

__all__ = ["SERVERS", "server_of"]

NAME = re.compile(r"[a-z][a-z0-9_-]*(=.*)?|.*\.toml")
FILE_SUFFIX = ".toml"
MUTANT = "mutant"
"""A reference server that is wrong in one named way: what every check must notice."""


def _reference(path: Path | None) -> Server:
    if path is not None:
        raise ValueError(f"reference is part of this installation: leave {path} out")
    return Reference()


SERVERS: Mapping[str, Factory] = {
    "reference": _reference,
    "coturn": Coturn,
    "dovecot": Dovecot,
    "iroh-relay": IrohRelay,
    "madmail": Madmail,
}


def server_of(text: str) -> Server:
    """The server that a text such as `reference+coturn+iroh-relay=/usr/local/bin/iroh-relay` names.

    A path that ends in `.toml` is a user's own server. Raises `ValueError` with a sentence.
    """
    return compose([_one(word) for word in _words(text)])


def _words(text: str) -> list[str]:
    words, pieces = [], text.split("+")
    while pieces:
        count = _length_of_first(pieces)
        words.append("+".join(pieces[:count]))
        pieces = pieces[count:]
    return words


def _length_of_first(pieces: Sequence[str]) -> int:
    """The number of pieces that are one word: a path may have a plus in it.

    The longest path that exists is meant; where there is none, all that follows and cannot be a name.
    """
    head, equals, start = pieces[0].partition("=")
    if not equals and "/" not in head:
        return 1
    for count in range(len(pieces), 0, -1):
        if Path("+".join([start or head, *pieces[1:count]])).is_file():
            return count
    further = (at for at in range(1, len(pieces)) if NAME.fullmatch(pieces[at]))
    return next(further, len(pieces))


def _one(word: str) -> Server:
    name, equals, path = word.partition("=")
    if name not in SERVERS and word.endswith(FILE_SUFFIX):
        return FileServer(Path(word))
    if name == MUTANT:
        return _mutant(path)
    if name not in SERVERS:
        near = difflib.get_close_matches(name, SERVERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = f"{', '.join(SERVERS)}, and files that end in {FILE_SUFFIX}"
        raise ValueError(f"there is no server {name!r}, there are {known}{hint}")
    if equals and not path:
        raise ValueError(f"{word} lacks the path of the program")
    return SERVERS[name](Path(path) if path else None)


def _mutant(name: str) -> Server:
    if not name:
        raise ValueError(
            "mutant lacks its name, as in mutant=relay_delivers_twice; python -m mutants has all"
        )
    return Reference((sys.executable, "-m", "mutants", name), f"{MUTANT}={name}")
