"""What stands behind the numbers: each test is a list of checks, and its verdict is their worst."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from ...checks import discovery, realtime, realtime_paths, relay
from ...hosts import MissingCapability
from ...network.lab import require_lab
from ...stage.session import Session
from ...steps.outcome import Outcome
from .console import Result

__all__ = ["TESTS", "iroh_discovery", "run_test", "webxdc_realtime"]

progress = logging.getLogger("harness.progress")


def iroh_discovery(session: Session) -> Iterator[Outcome]:
    """Test 15: METADATA offers a relay of this server, and the relay behind it works."""
    target, host = session.target, session.host
    yield discovery.metadata_offers_a_relay(target, host)
    yield discovery.metadata_needs_login(target, host)
    yield relay.relay_answers_http(target, host)
    yield relay.relay_forwards_each_frame_once(target, host)
    yield relay.relay_refuses_bad_signatures(target, host)


def webxdc_realtime(session: Session) -> Iterator[Outcome]:
    """Test 16: two real Delta Chat cores exchange realtime messages of an app.

    In a lab, if this machine and the target can have one: in networks that allow a direct path, then in such that allow
    none. Else on one host, where nobody can tell which way the messages go.
    """
    if _has_lab(session):
        yield realtime_paths.two_devices_go_direct(session.target, session.labs)
        yield realtime_paths.two_devices_are_relayed(session.target, session.labs)
    else:
        yield realtime.two_devices_exchange_messages(session.target, session.host, session.devices)


def _has_lab(session: Session) -> bool:
    if "lab" not in session.target.capabilities:
        return False
    try:
        require_lab()
    except MissingCapability as missing:
        progress.info("no lab on this machine, so one host must do: %s", missing)
        return False
    return True


TESTS: dict[int, Callable[[Session], Iterator[Outcome]]] = {15: iroh_discovery, 16: webxdc_realtime}


def run_test(number: int, session: Session) -> Result:
    """Run the checks of one test; what follows a failed one would only repeat its reason."""
    started = time.monotonic()
    found = Outcome()
    for outcome in TESTS[number](session):
        found.include(outcome)
        if not outcome:
            break
    return Result(
        number, found.verdict, found.reason, tuple(dict.fromkeys(found.notes)), time.monotonic() - started
    )
