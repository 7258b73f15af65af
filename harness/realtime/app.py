"""The smallest WebXDC app that core accepts (https://webxdc.org/docs/spec/format.html)."""

from __future__ import annotations

import zipfile
from pathlib import Path

__all__ = ["build_app"]

INDEX = '<!DOCTYPE html><html><head><meta charset="utf-8"><title>{name}</title></head><body></body></html>\n'


def build_app(directory: Path, name: str = "dc-harness realtime") -> Path:
    """Write `realtime.xdc` into a directory and return its path. The same name gives the same bytes."""
    path = directory / "realtime.xdc"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in (
            ("manifest.toml", f'name = "{name}"\n'),
            ("index.html", INDEX.format(name=name)),
        ):
            archive.writestr(zipfile.ZipInfo(member, (2026, 1, 1, 0, 0, 0)), text)
    return path
