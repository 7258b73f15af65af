"""Which way realtime data should take between two networks, and how a lab configures devices in them."""

import pytest

from harness.checks import realtime_paths
from harness.evidence import expected
from harness.evidence.verdicts import Verdict
from harness.network import profiles
from harness.network.profiles import (
    CARRIER,
    FULL_CONE,
    HOME,
    MOBILE,
    ONLY_443,
    PUBLIC,
    SYMMETRIC,
    UDP_BLOCKED,
)


@pytest.mark.parametrize(
    ("one", "other", "way"),
    [
        (HOME, HOME, Verdict.DIRECT),
        (HOME, CARRIER, Verdict.DIRECT),
        (FULL_CONE, SYMMETRIC, Verdict.DIRECT),
        (HOME, SYMMETRIC, Verdict.RELAYED),
        (MOBILE, CARRIER, Verdict.RELAYED),
        (SYMMETRIC, SYMMETRIC, Verdict.RELAYED),
        (PUBLIC, UDP_BLOCKED, Verdict.RELAYED),
        (ONLY_443, PUBLIC, Verdict.RELAYED),
        (profiles.IPV6_ONLY, profiles.DUAL_STACK, Verdict.DIRECT),
    ],
)
def test_the_expected_way_is_direct_where_a_hole_can_be_punched(one, other, way):
    assert expected.of_realtime(one, other) == expected.of_realtime(other, one)
    assert expected.of_realtime(one, other).verdict is way


def test_only_networks_that_let_nothing_but_443_out_need_it():
    needing = {profile.name for profile in profiles.ALL if profile.only_443}
    assert needing == {"only 443", "only 443, refused"}


def test_the_essential_cells_have_both_ways():
    ways = [expected.of_realtime(each.first, each.second).verdict for each in realtime_paths.ESSENTIAL]
    assert {ways.count(Verdict.DIRECT), ways.count(Verdict.RELAYED)} == {2}
    assert len(realtime_paths.EVERY) == 78
