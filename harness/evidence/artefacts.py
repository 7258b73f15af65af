"""A path as files, for people and programs that read the evidence of a record."""

from __future__ import annotations

import json
import pathlib
import re

from .drawing import as_json, as_svg, as_text
from .parties import Parties
from .verdicts import ObservedPath

__all__ = ["keep"]


def keep(path: ObservedPath, who: Parties, directory: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Write `path-NAME.svg`, its drawing, `.json`, everything that was counted, and `.txt`, two lines.

    `name`: any text, such as "home x symmetric"; once in a directory, which is made. Returns the three files, for
    `Outcome.evidence`. Raises `OSError`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stem = "path-" + re.sub(r"[^\w.-]+", "-", name)
    contents = {
        "svg": as_svg(path, who),
        "json": json.dumps(as_json(path), indent=2) + "\n",
        "txt": as_text(path) + "\n",
    }
    files = []
    for kind, text in contents.items():
        files.append(directory / f"{stem}.{kind}")
        files[-1].write_text(text, encoding="utf-8")
    return files
