"""Programs of ours that tests start come from the fork servers of the harness (`harness.preloaded`).

The tests start them hundreds of times: what else they start is loaded there as well. Tests of the programs themselves
start them as a user does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.calls import agent
from harness.preloaded import end_fork_servers, fork_servers, preloaded
from harness.servers import reference

__all__ = ["quick_command", "quick_starts"]

MORE_MODULES = ("reference_server.config.check_config", "mutants.__main__")
BEHIND = 5
"""Niceness of all others: an agent that does not get its 50 packets a second onto the wire leaves a test undecided."""


def quick_command(program: str, *arguments: str) -> tuple[str, ...]:
    """Command that starts a program of ours from this session's fork server."""
    return preloaded(program, *arguments, loads=reference.MODULES)


@contextmanager
def quick_starts() -> Iterator[None]:
    """Within the block, fork servers have loaded more, and agents come before all others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "MODULES", (*reference.MODULES, *MORE_MODULES))
        fork_servers((agent.PROGRAM,))
        os.nice(BEHIND)
        fork_servers(reference.MODULES)  # now: a test that counts its processes counts none of ours
        try:
            yield
        finally:
            end_fork_servers()
