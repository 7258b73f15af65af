"""The TURN server by its name: whether devices find it, and what they do when they do not."""

from __future__ import annotations

import pytest

from harness.checks import names
from harness.hosts import Host
from harness.stage.lab import LabFactory
from harness.target import Target


@pytest.mark.requirement("DISC-5", "TURN-8")
def test_turn_host_leads_to_the_target(target: Target, host: Host) -> None:
    assert names.turn_host_leads_to_the_target(target, host)


@pytest.mark.requirement("DISC-5", "TURN-8")
def test_core_finds_turn_by_its_name(target: Target, labs: LabFactory) -> None:
    assert names.core_finds_turn_by_its_name(target, labs)


@pytest.mark.nightly
@pytest.mark.requirement("DISC-5", "TURN-8")
def test_the_name_of_turn_fails_in_every_way(target: Target, labs: LabFactory) -> None:
    assert names.core_finds_turn_by_its_name(target, labs, tuple(names.EVERY_WAY))
