"""The numbered tests as lists of checks; the verdict of a test is their worst."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from ...checks import discovery, realtime, realtime_paths, relay
from ...hosts import MissingCapability
from ...network.lab import require_lab
from ...stage.check import entry_of
from ...stage.outcome import Outcome
from ...stage.session import Session
from .console import Result

__all__ = ["TESTS", "iroh_discovery", "run_test", "webxdc_realtime"]

progress = logging.getLogger("harness.progress")

Checks = Sequence[Callable[..., Outcome]]


def iroh_discovery(_session: Session) -> Checks:
    """Test 15: METADATA offers a relay of this server, and the relay behind it works."""
    return (
        discovery.metadata_offers_a_relay,
        discovery.metadata_needs_login,
        relay.relay_answers_http,
        relay.relay_forwards_each_frame_once,
        relay.relay_refuses_bad_signatures,
    )


def webxdc_realtime(session: Session) -> Checks:
    """Test 16: two real Delta Chat cores exchange realtime messages of an app.

    In a lab, if this machine and the target can have one: in networks that allow a direct path, then in such that allow
    none. Else on one host, where nobody can tell which way the messages go.
    """
    if _has_lab(session):
        return (realtime_paths.two_devices_go_direct, realtime_paths.two_devices_are_relayed)
    return (realtime.two_devices_exchange_messages,)


def _has_lab(session: Session) -> bool:
    if "lab" not in session.capabilities:
        return False
    try:
        require_lab()
    except MissingCapability as missing:
        progress.info("no lab on this machine, so one host must do: %s", missing)
        return False
    return True


TESTS: dict[int, Callable[[Session], Checks]] = {15: iroh_discovery, 16: webxdc_realtime}


def run_test(number: int, session: Session) -> Result:
    """Run the checks of one test; those behind a failed one would only repeat its reason."""
    started = time.monotonic()
    found = Outcome()
    for check in TESTS[number](session):
        outcome = check(session.stage(entry_of(check).name))
        found.include(outcome)
        if not outcome:
            break
    return Result(
        number, found.verdict, found.reason, tuple(dict.fromkeys(found.notes)), time.monotonic() - started
    )
