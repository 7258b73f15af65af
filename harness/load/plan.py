"""Plan of a load: how many clients, how fast, for how long, against which server. Everything in it has a bound."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["PAUSE", "PLAN", "LoadPlan", "PlanError", "check_descriptors"]

PLAN = "DC_HARNESS_LOAD_PLAN"
"""Environment variable with the path of the plan, for the processes of Locust."""
MOST_USERS, MOST_PER_SECOND, MOST_SECONDS = 20_000, 500.0, 3600
LEAST_PAUSE, PAUSE = 0.5, 8.0
"""Seconds between two things that one client does, on average."""
LEAST_SECONDS = 20
PATHS = frozenset({"endpoints", "ca_file", "rpc_server"})
"""Options that are files; a plan has their names."""
DESCRIPTORS = 6
"""Of one client: IMAP, SMTP, and two connections each of a call and of a realtime channel at the most."""
SPARE = 128


class PlanError(ValueError):
    """A load that is not possible; the text says why."""


@dataclass(frozen=True)
class LoadPlan:
    """`options` are those of the server under test, as the doors have them."""

    users: int
    spawn_rate: float
    run_time: int
    """Seconds in which clients come and send; then they wait until everything has arrived."""
    results: str
    """File that is written as the load runs, and at its end."""
    options: Mapping[str, Any]
    workers: int = 1
    """Processes that the clients are in, on all machines."""
    pause: float = PAUSE
    """Seconds between two things that one client does, on average: by chance half as many, up to half as many more."""
    own_part: bool = False
    """The results are those of one worker, which writes them by itself in case its master goes."""

    def __post_init__(self) -> None:
        if not 1 <= self.users <= MOST_USERS:
            raise PlanError(f"--users is a number from 1 to {MOST_USERS}")
        if not 0 < self.spawn_rate <= MOST_PER_SECOND:
            raise PlanError(f"--spawn-rate is a number of clients per second, up to {MOST_PER_SECOND:g}")
        if not LEAST_PAUSE <= self.pause <= MOST_SECONDS:
            raise PlanError(f"--pause is a number of seconds from {LEAST_PAUSE:g} to {MOST_SECONDS}")
        least = LEAST_SECONDS + round(self.users / self.spawn_rate)
        if not least <= self.run_time <= MOST_SECONDS:
            raise PlanError(
                f"--run-time is a number of seconds up to {MOST_SECONDS}, and at least {least} for these clients: "
                f"they need {self.users / self.spawn_rate:.0f} s to come"
            )

    @property
    def users_each(self) -> int:
        """Most clients of one process. Locust gives a worker those of another that it takes for lost."""
        return -(-self.users // self.workers)

    def option(self, name: str) -> Any:
        """The value of an option of the server under test."""
        value = self.options.get(name)
        return Path(value) if value is not None and name in PATHS else value

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), default=str))

    @classmethod
    def of_environment(cls) -> LoadPlan:
        """The plan that the starting process has written."""
        return cls(**json.loads(Path(os.environ[PLAN]).read_text()))


def check_descriptors(users: int, processes: int) -> None:
    """Raise the limit of open files for the clients of one process. Raises `PlanError` where it is too low for them."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = -(-users // processes) * DESCRIPTORS + SPARE
    if most != resource.RLIM_INFINITY and needed > most:
        fitting = (most - SPARE) // DESCRIPTORS * processes
        raise PlanError(
            f"{users} clients in {processes} process{'es' if processes > 1 else ''} need {needed} open files in each, "
            f"and this machine allows {most}: at most --users {fitting}, more --workers, or `ulimit -Hn {needed}`"
        )
    if allowed != resource.RLIM_INFINITY and needed > allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))
