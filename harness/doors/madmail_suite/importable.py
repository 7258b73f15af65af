"""Helpers of the drop-in's scenario modules: prove a test against a server, and hand out accounts there."""

from __future__ import annotations

import os
from pathlib import Path

from deltachat_rpc_client import Account, DeltaChat

from ...clients.core.versions import CoreChoice
from ...hosts import LocalHost
from ...report.run import Run, new_run_directory
from ...servers.remote import remote_target
from ...stage.check import recording
from ...stage.offers import require_own_services
from ...stage.options import Choice
from ...stage.session import open_session
from ...stage.survey import look_up
from .suite import run_test

__all__ = ["new_account", "prove"]

RUNS = Path("reports/runs")


def prove(number: int, domain: str) -> None:
    """Run one numbered test against the server at `domain`. Raises AssertionError with the reason."""
    run = Run(new_run_directory(RUNS))
    binary = os.environ.get("RPC_SERVER_PATH")
    cores = CoreChoice(binary=Path(binary) if binary else None)
    try:
        with (
            open_session(run, Choice(domain=domain, cores=cores, must=frozenset({"iroh_relay"}))) as session,
            recording(run.add, run=run.name, door=f"scenario {number}"),
        ):
            result = run_test(number, session)
    finally:
        run.finish()
    if not result.passed:
        raise AssertionError(f"test #{number}: {result.reason} (results in {run.directory})")


def new_account(dc: DeltaChat, domain: str) -> Account:
    """A configured account of the caller's own core at `domain`, which must offer a relay of its own."""
    host = LocalHost()
    target, _ = look_up(remote_target(domain), host)
    require_own_services(target, host)
    account = dc.add_account()
    account.add_transport_from_qr(target.new_account().dclogin(target))
    return account
