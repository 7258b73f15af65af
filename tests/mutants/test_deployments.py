"""Deployments that are wrong on purpose: what each declares, and that its checks fail with the declared words."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.causes.catalogue import CATALOGUE
from harness.doors.catalogue import all_checks
from harness.report.records import Verdict
from mutants.deployments.declaration import CHATMAIL, COTURN, EVERY_LAYOUT, MADMAIL, REFERENCE, all_faults
from mutants.deployments.run import look_at

FAULTS = all_faults()
CHECKS = {check.name for check in all_checks()}
EVERY_PLACE = [(fault, layout) for fault in FAULTS for layout in FAULTS[fault].on]
ONE_OF_EACH_KIND = [
    ("relay_ports_closed", COTURN),
    ("turn_tells_its_inner_address", REFERENCE),
    ("secrets_differ", COTURN),
    ("clock_of_mail_a_day_behind", COTURN),
    ("relay_dead", REFERENCE),
    ("relay_certificate_untrusted", REFERENCE),
    ("proxy_drops_upgrade", CHATMAIL),
    ("turn_first_address_dead", REFERENCE),
    ("certificate_expired", REFERENCE),
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


def assert_red(name, layout, tmp_path):
    fault = FAULTS[name]
    seen = look_at(fault, layout, tmp_path)
    if seen.missing:
        pytest.skip(seen.missing)
    assert not seen.error
    for check, words in fault.red.items():
        verdict, reason = seen.checks[check]
        assert verdict == Verdict.FAILED, f"{check}: {verdict} {reason}"
        assert words in reason


@pytest.mark.parametrize(("name", "layout"), ONE_OF_EACH_KIND)
def test_the_declared_checks_are_red(name, layout, tmp_path):
    assert_red(name, layout, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "layout"), EVERY_PLACE)
def test_the_declared_checks_are_red_wherever_the_fault_can_be(name, layout, tmp_path):
    assert_red(name, layout, tmp_path)
