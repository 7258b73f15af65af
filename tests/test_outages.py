"""`benchmarks.outages`: a right server has no faults when its certificate expires and when DNS is dead, under load.

A certificate that is believed although it should have expired, and mail that does not arrive afterwards, are noticed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.outages import certificate, dns
from harness.hosts import MissingCapability
from harness.network.names import Refusal
from harness.network.preflight import preflight
from harness.report.run import Run
from harness.stage.session import open_session
from harness.stage.stage import Stage


@pytest.fixture
def stage(tmp_path) -> Iterator[Stage]:
    with open_session(Run(tmp_path)) as session:
        yield session.stage("outage")


@pytest.fixture
def lab_stage(tmp_path) -> Iterator[Stage]:
    try:
        preflight().require("netns")
    except MissingCapability as missing:
        pytest.skip(str(missing))
    with open_session(Run(tmp_path)) as session:
        yield session.stage("outage")


@pytest.mark.nightly
def test_what_is_connected_outlives_the_certificate(stage):
    assert certificate(stage) == []


def test_a_certificate_that_does_not_expire_is_noticed(stage):
    [fault] = certificate(stage, valid_for=86_400, within=0.5)
    assert "waited 0.5 s for an expired certificate to be refused" in fault


def test_mail_inside_goes_on_without_dns_and_the_other_arrives_when_it_is_back(lab_stage):
    assert dns(lab_stage) == []


@pytest.mark.nightly
def test_mail_that_does_not_arrive_is_noticed(lab_stage):
    faults = dns(lab_stage, failure=Refusal.SERVFAIL, heals=False)
    assert faults == [f"elsewhere-{number} was answered with 250 and is lost" for number in range(5)]
