"""Swarms of several devices, and what becomes of them when networks fail or change."""

from __future__ import annotations

import pytest

from harness.checks import swarms
from harness.stage.lab import LabFactory
from harness.target import Target


@pytest.mark.requirement("IROH-9", "IROH-5", "E2E-path")
def test_everyone_hears_everyone(target: Target, labs: LabFactory) -> None:
    assert swarms.everyone_hears_everyone(target, labs)


@pytest.mark.requirement("IROH-9", "IROH-5", "E2E-path")
def test_two_hear_each_other_in_order(target: Target, labs: LabFactory) -> None:
    assert swarms.everyone_hears_everyone(target, labs, networks=swarms.TWO)


@pytest.mark.nightly
@pytest.mark.requirement("IROH-9", "IROH-5", "E2E-path")
def test_ten_hear_each_other(target: Target, labs: LabFactory) -> None:
    assert swarms.everyone_hears_everyone(target, labs, networks=swarms.TEN)


@pytest.mark.requirement("IROH-9", "E2E-path")
def test_an_isolated_device_is_lost_alone(target: Target, labs: LabFactory) -> None:
    assert swarms.an_isolated_device_is_lost_alone(target, labs)


@pytest.mark.requirement("IROH-9", "IROH-5", "E2E-path")
def test_a_cut_link_loses_nothing(target: Target, labs: LabFactory) -> None:
    assert swarms.a_cut_link_loses_nothing(target, labs)


@pytest.mark.requirement("IROH-3", "IROH-5", "IROH-9")
def test_a_change_loses_little(target: Target, labs: LabFactory) -> None:
    assert swarms.a_change_loses_little(target, labs)


@pytest.mark.nightly
@pytest.mark.requirement("IROH-3", "IROH-5", "IROH-9")
@pytest.mark.parametrize("name", [name for name in swarms.CHANGES if name != swarms.SHORT_OUTAGE])
def test_other_changes_lose_little(target: Target, labs: LabFactory, name: str) -> None:
    assert swarms.a_change_loses_little(target, labs, change=swarms.CHANGES[name])
