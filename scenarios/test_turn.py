"""The TURN server that METADATA advertises, without any call."""

from __future__ import annotations

import pytest

from harness.checks import turn
from harness.hosts import Host
from harness.target import Target


@pytest.mark.requirement("DISC-3", "TURN-1", "TURN-9")
def test_turn_is_offered(target: Target, host: Host) -> None:
    assert turn.turn_is_offered(target, host)


@pytest.mark.requirement("DISC-6", "TURN-2", "TURN-5", "TURN-6")
def test_turn_allocates_with_offered_credentials(target: Target, host: Host) -> None:
    assert turn.turn_allocates_with_offered_credentials(target, host)


@pytest.mark.requirement("TURN-2", "TURN-3", "TURN-4")
def test_turn_refuses_wrong_credentials(target: Target, host: Host) -> None:
    assert turn.turn_refuses_wrong_credentials(target, host)


@pytest.mark.requirement("TURN-4")
@pytest.mark.server(*turn.SHORT_TTL)
def test_turn_credentials_expire(target: Target, host: Host) -> None:
    assert turn.turn_credentials_expire(target, host)


@pytest.mark.requirement("TURN-11")
def test_turn_enforces_permissions(target: Target, host: Host) -> None:
    assert turn.turn_enforces_permissions(target, host)
