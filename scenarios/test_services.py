"""The services of a server stand on their own."""

from __future__ import annotations

import pytest

from harness.checks import services
from harness.hosts import Host
from harness.target import Target


@pytest.mark.requirement("IROH-8")
def test_relay_restarts_without_touching_mail(target: Target, host: Host) -> None:
    assert services.relay_restarts_without_touching_mail(target, host)
