"""The end of a run, as an observation in its last record."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

from .observations import Observation

__all__ = ["RunEnded"]


@dataclass(frozen=True)
class RunEnded(Observation):
    """A run that has ended. A directory without it is that of a run that goes on, or was killed."""

    kind: ClassVar[str] = "run_ended"

    seconds: float
    """Wall time, from the plan to the end."""
    interrupted: str = ""
    """Cause for which checks were not run, such as `Ctrl-C`; empty: the run came to the end of its plan."""
    jobs: int = 1
    """Checks that ran at the same time, at most."""
    cores: int = 0
    """Processors that this process may use."""
    load: float | None = None
    """Programs that wanted to run on this machine, on average over the last minute; None: not known."""

    @classmethod
    def now(cls, seconds: float, *, interrupted: str = "", jobs: int = 1) -> RunEnded:
        """With what this machine has, and its load."""
        return cls(seconds, interrupted, jobs, len(os.sched_getaffinity(0)), round(os.getloadavg()[0], 2))
