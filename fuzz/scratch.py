"""A directory of this process for files that targets read; it is gone at its end."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

__all__ = ["DIRECTORY"]

DIRECTORY = Path(tempfile.mkdtemp(prefix="dc-fuzz-"))
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)
