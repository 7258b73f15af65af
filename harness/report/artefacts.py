"""A path as files, for people and programs that read the evidence of a record."""

from __future__ import annotations

import json
import re
from pathlib import Path

from .observations import PathSeen
from .path_drawing import as_svg, as_text
from .style import style_sheet

__all__ = ["keep"]


def keep(path: PathSeen, directory: Path, name: str) -> list[Path]:
    """Write `path-NAME.svg`, its drawing, `.json`, everything that was counted, and `.txt`, a line.

    There is no drawing of more than three devices. `name`: any text, such as "home x symmetric"; once in a directory,
    which is made. Returns the files, for `Outcome.evidence`. Raises `OSError`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stem = "path-" + re.sub(r"[^\w.-]+", "-", name)
    contents = {"json": json.dumps(path.to_json(), indent=2) + "\n", "txt": as_text(path) + "\n"}
    if drawing := as_svg(path, style_sheet("figure.css")):
        contents = {"svg": drawing + "\n", **contents}
    files = []
    for kind, text in contents.items():
        files.append(directory / f"{stem}.{kind}")
        files[-1].write_text(text, encoding="utf-8")
    return files
