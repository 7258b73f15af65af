"""What METADATA offers beyond the relay."""

from __future__ import annotations

import pytest

from harness.checks import discovery
from harness.hosts import Host
from harness.target import Target


@pytest.mark.requirement("DISC-4", "TURN-7")
def test_turns_is_offered(target: Target, host: Host) -> None:
    assert discovery.turns_is_offered(target, host)
