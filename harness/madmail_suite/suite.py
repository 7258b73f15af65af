"""What stands behind the numbers: each test is a list of checks, and its verdict is their worst."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ..checks import discovery, realtime, relay
from ..checks.outcome import Outcome
from ..session import Session
from .console import Result

__all__ = ["TESTS", "iroh_discovery", "run_test", "webxdc_realtime"]


def iroh_discovery(session: Session) -> Iterator[Outcome]:
    """Test 15: METADATA offers a relay of this server, and the relay behind it works."""
    target, host = session.target, session.host
    yield discovery.metadata_offers_a_relay(target, host)
    yield discovery.metadata_needs_login(target, host)
    yield relay.relay_answers_http(target, host)
    yield relay.relay_forwards_each_frame_once(target, host)
    yield relay.relay_refuses_bad_signatures(target, host)


def webxdc_realtime(session: Session) -> Iterator[Outcome]:
    """Test 16: two real Delta Chat cores exchange realtime messages of an app."""
    yield realtime.two_devices_exchange_messages(session.target, session.host, session.devices)


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
