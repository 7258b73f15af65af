"""Stages without a server, for tests of what surrounds a check."""

from __future__ import annotations

from pathlib import Path

from harness.hosts import LocalHost
from harness.report.run import Run
from harness.servers.server import RunningServer
from harness.stage.options import Choice
from harness.stage.session import Session
from harness.stage.stage import Stage
from harness.target import Target

__all__ = ["session_with", "stage_with"]


def session_with(target: Target, directory: Path) -> Session:
    """A session about a server of somebody else."""
    run = Run(directory / "run")
    server = RunningServer(target.name, {}, target=target)
    return Session(run, server, target, LocalHost(), run.logs, Choice(), kind=None)


def stage_with(target: Target, directory: Path) -> Stage:
    return session_with(target, directory).stage("stage")
