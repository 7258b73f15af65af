"""Who can punch a hole to whom: what is measured must be what RFC 4787 lets expect."""

from harness.network import profiles
from harness.network.lab import Lab
from harness.network.probe import IPV4, Reflector
from harness.network.punching import can_punch, punch

KINDS = (
    profiles.PUBLIC,
    profiles.FULL_CONE,
    profiles.ADDRESS_RESTRICTED,
    profiles.HOME,
    profiles.SYMMETRIC,
    profiles.SYMMETRIC_OPEN,
    profiles.CARRIER,
    profiles.MOBILE,
)
IMPOSSIBLE = {
    frozenset({"home", "symmetric"}),
    frozenset({"home", "mobile"}),
    frozenset({"carrier", "symmetric"}),
    frozenset({"carrier", "mobile"}),
    frozenset({"symmetric"}),
    frozenset({"symmetric", "mobile"}),
    frozenset({"mobile"}),
}
"""Written out by hand, so that theory and router are not wrong together."""


def test_theory_says_what_is_known():
    said = {
        frozenset({one.name, other.name})
        for one in KINDS
        for other in KINDS
        if one.ipv4 and other.ipv4 and not can_punch(one.ipv4, other.ipv4)
    }
    assert said == IMPOSSIBLE


def test_what_is_measured_is_what_theory_says(lab: Lab):
    hosts = {kind.name: [lab.device(f"{kind.name} {n}", kind) for n in (1, 2)] for kind in KINDS}
    with Reflector(lab.server("reflector", addresses=2), IPV4) as reflector:
        measured = punch(reflector, hosts)
    assert measured == {
        (one.name, other.name): frozenset({one.name, other.name}) not in IMPOSSIBLE
        for one in KINDS
        for other in KINDS
    }
