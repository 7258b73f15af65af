"""Deployments that are wrong on purpose: what each declares, and that this is what is seen."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from harness.causes.catalogue import CATALOGUE
from harness.doors.catalogue import all_checks
from harness.doors.deployments import Checked, Deployment, Seen, faults_of, too_slow
from mutants.deployments.declaration import (
    CHATMAIL,
    COTURN,
    EVERY_LAYOUT,
    MADMAIL,
    REFERENCE,
    all_faults,
    green_on,
)
from mutants.deployments.run import look_at

FAULTS = all_faults()
CHECKS = {check.name for check in all_checks()}
EVERY_PLACE = [(fault, layout) for fault in FAULTS for layout in FAULTS[fault].on]
ONE_OF_EACH_KIND = [
    ("healthy", CHATMAIL),
    ("relay_ports_closed", COTURN),
    ("turn_tells_its_inner_address", REFERENCE),
    ("secrets_differ", COTURN),
    ("clock_of_mail_a_day_behind", COTURN),
    ("relay_dead", REFERENCE),
    ("later_frames_not_forwarded", REFERENCE),
    ("relay_certificate_untrusted", REFERENCE),
    ("proxy_drops_upgrade", CHATMAIL),
    ("turn_first_address_dead", REFERENCE),
    ("https_for_a_plain_relay", REFERENCE),
    ("certificate_expired", REFERENCE),
    ("imap_port_filtered", REFERENCE),
    ("imap_says_bye", REFERENCE),
    ("metadata_not_advertised", REFERENCE),
    ("imap_port_closed", MADMAIL),
]


def test_there_are_enough_faults_and_each_declares_what_exists():
    assert len([each for each in FAULTS.values() if each.causes]) >= 45
    for each in FAULTS.values():
        assert set(each.causes) <= CATALOGUE.keys(), each.name
        assert each.red.keys() <= CHECKS, each.name
        assert each.on and set(each.on) <= set(EVERY_LAYOUT), each.name


def test_programs_are_told_every_fault():
    ended = subprocess.run(
        [sys.executable, "-m", "mutants.deployments", "--list-json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert [each["name"] for each in json.loads(ended.stdout)] == list(FAULTS)


@pytest.mark.parametrize(
    "arguments",
    [("no_such_fault", REFERENCE), ("relay_ports_closed", "no_such_server"), ("relay_ports_closed",)],
)
def test_what_does_not_exist_is_a_usage_error(arguments):
    ended = subprocess.run(
        [sys.executable, "-m", "mutants.deployments", *arguments], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def assert_seen_as_it_is(name, layout, tmp_path):
    """As the table of `dc-harness mutants --deployments` judges it: the doctor's cause, and the checks."""
    fault = FAULTS[name]
    found = asdict(look_at(fault, layout, tmp_path))
    del found["fault"], found["layout"]
    found["checks"] = {each: Checked(*checked) for each, checked in found["checks"].items()}
    seen = Seen(**found)
    if seen.missing:
        pytest.skip(seen.missing)
    declared = Deployment(name, fault.wrong, layout, fault.causes, fault.red, green_on(fault, layout))
    wrong = faults_of(declared, seen)
    if wrong and (why := too_slow(seen)):
        pytest.skip(f"undecided: {why}: {wrong[0]}")
    assert wrong == []


@pytest.mark.parametrize(("name", "layout"), ONE_OF_EACH_KIND)
def test_the_cause_is_named_and_the_checks_are_red(name, layout, tmp_path):
    assert_seen_as_it_is(name, layout, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "layout"), EVERY_PLACE)
def test_each_deployment_is_seen_as_it_is(name, layout, tmp_path):
    assert_seen_as_it_is(name, layout, tmp_path)
