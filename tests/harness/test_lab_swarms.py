"""Which way realtime data should take between two networks, and how a lab configures devices in them."""

import pytest

from harness.checks import realtime_paths
from harness.evidence import expected
from harness.evidence.verdicts import PathVerdict
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
        (HOME, HOME, PathVerdict.DIRECT),
        (HOME, CARRIER, PathVerdict.DIRECT),
        (FULL_CONE, SYMMETRIC, PathVerdict.DIRECT),
        (HOME, SYMMETRIC, PathVerdict.RELAYED),
        (MOBILE, CARRIER, PathVerdict.RELAYED),
        (SYMMETRIC, SYMMETRIC, PathVerdict.RELAYED),
        (PUBLIC, UDP_BLOCKED, PathVerdict.RELAYED),
        (ONLY_443, PUBLIC, PathVerdict.RELAYED),
        (profiles.IPV6_ONLY, profiles.DUAL_STACK, PathVerdict.DIRECT),
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
    assert {ways.count(PathVerdict.DIRECT), ways.count(PathVerdict.RELAYED)} == {2}
    assert len(realtime_paths.EVERY) == 78
