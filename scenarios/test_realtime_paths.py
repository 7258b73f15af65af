"""Realtime data between devices in networks of all kinds: which way does it take, by counters outside of them?"""

from __future__ import annotations

import pytest

from harness.checks import realtime_paths
from harness.stage.lab import LabFactory
from harness.target import Target


@pytest.mark.requirement("IROH-5", "E2E-path")
def test_data_takes_the_way_that_networks_allow(target: Target, labs: LabFactory) -> None:
    assert realtime_paths.data_takes_the_way_that_networks_allow(target, labs)


@pytest.mark.nightly
@pytest.mark.requirement("IROH-5", "E2E-path")
def test_between_all_networks(target: Target, labs: LabFactory) -> None:
    assert realtime_paths.data_takes_the_way_that_networks_allow(target, labs, cells=realtime_paths.EVERY)
