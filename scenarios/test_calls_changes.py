"""Calls whose network changes while people talk."""

from __future__ import annotations

import pytest

from harness.checks import calls_changes
from harness.stage.lab import LabFactory
from harness.target import Target


@pytest.mark.requirement("TURN-10")
def test_calls_survive_outages(target: Target, labs: LabFactory) -> None:
    assert calls_changes.calls_survive_outages(target, labs)


@pytest.mark.nightly
@pytest.mark.requirement("TURN-10")
def test_calls_survive_longer_outages(target: Target, labs: LabFactory) -> None:
    assert calls_changes.calls_survive_outages(target, labs, (5.0, 20.0), ("bob", "carol"))


@pytest.mark.requirement("TURN-10")
def test_calls_on_bad_links_stay_up(target: Target, labs: LabFactory) -> None:
    assert calls_changes.calls_on_bad_links_stay_up(target, labs)


@pytest.mark.nightly
@pytest.mark.requirement("TURN-10")
def test_calls_on_links_of_every_kind_stay_up(target: Target, labs: LabFactory) -> None:
    assert calls_changes.calls_on_bad_links_stay_up(target, labs, tuple(calls_changes.BAD_LINKS))


@pytest.mark.nightly
@pytest.mark.requirement("TURN-10")
def test_dead_calls_are_noticed_and_the_next_one_works(target: Target, labs: LabFactory) -> None:
    assert calls_changes.dead_calls_are_noticed_and_the_next_one_works(target, labs)
