"""Files that a server's programs write: what is in them of its users."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..hosts import MissingCapability
from ..stage.stage import Stage
from ..text import clean

__all__ = ["Trace", "files_with", "traces"]

SQLITE = b"SQLite format 3\0"
BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")
MAIL = re.compile(rb"^-----BEGIN PGP MESSAGE-----", re.MULTILINE)
INDEX = re.compile(r"dovecot(\.list)?\.index(\..+)?|dovecot-uidlist")
"""Names of what dovecot keeps beside the mails of a mailbox: their headers among it."""
LARGEST = 256 << 20
"""Bytes of one file that are searched."""
SHOWN = 160


@dataclass(frozen=True)
class Trace:
    """A canary in a file; `line` is the text around it."""

    file: Path
    canary: str
    line: str
    where_it_belongs: bool
    """The file is a mail, an index of mails, or a database: servers keep mail and accounts somewhere."""


def files_with(stage: Stage, *texts: str) -> list[str]:
    """Names of the server's files in which one of these texts is. Empty as well where none are ours to read."""
    return [
        _name(stage, file) for file, data in _contents(stage) if any(each.encode() in data for each in texts)
    ]


def traces(stage: Stage, canaries: Mapping[str, str]) -> Iterator[Trace]:
    """Every file of the server that has a canary: its name -> its text. Raises `MissingCapability` for none to read."""
    found_files = False
    for file, data in _contents(stage):
        found_files = True
        belongs = _is_database(file, data) or MAIL.search(data) is not None
        for what, text in canaries.items():
            if (at := data.find(text.encode())) >= 0:
                yield Trace(file, what, _line(data, at), belongs)
    if not found_files:
        raise MissingCapability(
            "files", "the server has written no file", heal="name them with `writes` in its TOML"
        )


def _contents(stage: Stage) -> Iterator[tuple[Path, bytes]]:
    for place in stage.server.files:
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            try:
                about = file.lstat()
                if stat.S_ISREG(about.st_mode):
                    with file.open("rb") as opened:
                        yield file, opened.read(LARGEST)
            except FileNotFoundError:
                continue  # a mail that was moved, a log that was rotated: found under its new name


def _is_database(file: Path, data: bytes) -> bool:
    if data.startswith(SQLITE) or INDEX.fullmatch(file.name):
        return True
    for suffix in BESIDE_A_DATABASE:
        main = file.with_name(file.name.removesuffix(suffix))
        if main != file and main.is_file():
            with main.open("rb") as opened:
                return opened.read(len(SQLITE)) == SQLITE
    return False


def _line(data: bytes, at: int) -> str:
    begin = data.rfind(b"\n", 0, at) + 1
    end = data.find(b"\n", at)
    line = data[max(begin, at - SHOWN // 2) : end if end >= 0 else len(data)]
    return clean(line.decode(errors="replace"), SHOWN)


def _name(stage: Stage, file: Path) -> str:
    for place in stage.server.files:
        if place in file.parents:
            return str(file.relative_to(place))
    return file.name
