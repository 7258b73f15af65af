"""Runs a program as an ordinary user, who is nobody: uid 65534."""

import sys
from pathlib import Path

__all__ = ["as_nobody"]

SETPRIV = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--")
ROOT = Path(__file__).resolve().parents[3]

OPEN_HOME = """
home=$1 aside=$2
shift 2
for path in "$@"; do
    [ "$path" = -- ] && break
    mkdir -p "$aside$path"
    mount --bind "$path" "$aside$path"
done
mount -t tmpfs -o mode=755 none "$home"
for path in "$@"; do
    shift
    [ "$path" = -- ] && break
    mkdir -p "$path"
    mount --bind "$aside$path" "$path"
done
exec "$@"
"""
"""In mounts of its own: of a home that is closed to others, show only what our Python needs."""


def as_nobody(scratch: Path) -> list[str]:
    """What to write before a command. To be called by root; `scratch` is an empty directory."""
    home = Path.home()
    needed = {Path(sys.base_prefix), Path(sys.prefix), ROOT}
    shown = [str(path) for path in sorted(needed) if path.is_relative_to(home)]
    if not shown:
        return list(SETPRIV)
    return [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        OPEN_HOME,
        "sh",
        str(home),
        str(scratch),
        *shown,
        "--",
        *SETPRIV,
    ]
