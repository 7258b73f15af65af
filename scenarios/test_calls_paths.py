"""Calls from network to network: which way each takes, proven by counters outside the devices."""

from __future__ import annotations

import pytest

from harness.checks import calls_paths
from harness.stage.lab import LabFactory
from harness.target import Target


@pytest.mark.requirement("TURN-10", "E2E-path")
def test_calls_take_the_expected_path(target: Target, labs: LabFactory) -> None:
    assert calls_paths.calls_take_the_expected_path(target, labs)


@pytest.mark.nightly
@pytest.mark.requirement("TURN-10", "E2E-path")
def test_calls_take_the_expected_path_between_all_networks(target: Target, labs: LabFactory) -> None:
    assert calls_paths.calls_take_the_expected_path(target, labs, calls_paths.EVERY)
