"""Labs with a server in them, for tests that look at what checks are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.evidence.edges import Edges
from harness.network.lab import LabHost
from harness.report.run import Run
from harness.servers.server import Server, Wants
from harness.stage.lab import LabStage, People
from harness.stage.session import open_session

__all__ = ["bystanders", "lab_stage"]


@contextmanager
def lab_stage(directory: Path, wants: Wants | None = None, kind: Server | None = None) -> Iterator[LabStage]:
    """Raises `MissingCapability` where this machine can have none: then the test is skipped."""
    with (
        open_session(Run(directory / "run"), kind=kind) as session,
        session.stage("test").lab(wants) as lab,
    ):
        yield lab


@contextmanager
def bystanders(lab: LabStage, *hosts: LabHost, watched: LabHost | None = None) -> Iterator[People]:
    """People without cores, whose hosts are watched as those of devices are. `watched`: in place of the server."""
    server = watched or lab.machine
    with ExitStack() as stack:
        edges = stack.enter_context(Edges([*hosts, server]))
        yield People(lab, {host.name: host for host in hosts}, {}, lab.offers(), edges)
