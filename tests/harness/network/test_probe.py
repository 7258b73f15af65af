"""Every network is what its profile says, and one that lies is caught."""

import dataclasses
from pathlib import Path

import pytest

from harness.network import profiles
from harness.network.lab import Lab
from harness.network.nat import Behaviour, Dependence, Nat
from harness.network.probe import IPV4, NotAsItSays, Reflector, classify, self_test, udp_socket, verify
from harness.network.profiles import Profile

EVERY_PORT = Dependence.ADDRESS_AND_PORT_DEPENDENT


@pytest.mark.parametrize("profile", profiles.ALL, ids=lambda profile: profile.name)
def test_a_profile_is_what_it_says(profile: Profile):
    self_test(profile)


@pytest.mark.usefixtures("lab")
def test_a_profile_that_lies_is_caught():
    liar = dataclasses.replace(profiles.HOME, name="liar", routers=profiles.SYMMETRIC.routers)
    with pytest.raises(
        NotAsItSays, match=r"'liar' says .* endpoint-independent mapping.* measured was: .*port"
    ):
        self_test(liar)


def test_a_router_that_became_another_one_is_caught(lab: Lab):
    device = lab.device("alice", profiles.HOME)
    verify(lab, device)
    device.routers[0].change(nat=Nat(EVERY_PORT, EVERY_PORT))
    with pytest.raises(NotAsItSays):
        verify(lab, device)


@pytest.mark.parametrize("attempt", range(4))
def test_a_device_with_three_ports_is_measured_with_a_new_one_each_time(lab: Lab, attempt: int):
    """A port that was in use a moment ago still has its mapping, which lets in all that was contacted then."""
    device = lab.device("alice", profiles.HOME)
    ports = ["sh", "-c", "echo 40000 40002 >/proc/sys/net/ipv4/ip_local_port_range"]
    assert device.start_program(ports).wait() == 0
    verify(lab, device)


def test_a_hairpin_that_is_none_is_caught(lab: Lab):
    device = lab.device("alice", profiles.HAIRPIN)
    device.routers[0].change(nat=profiles.HOME.routers[0].nat)
    with pytest.raises(NotAsItSays, match=r"says .* hairpin; measured was"):
        verify(lab, device)


def test_two_devices_with_the_same_port_have_one_mapping_each(lab: Lab):
    """Plain masquerading gives the second one a new mapping for every destination."""
    first = lab.device("first", profiles.HOME)
    second = lab.device("second", behind=first.routers[0])
    with Reflector(lab.server("reflector", addresses=2), IPV4) as reflector:
        at = [(reflector.first, 3478), (reflector.first, 3479), (reflector.other, 3478)]
        with udp_socket(first, IPV4, port=5000) as one, udp_socket(second, IPV4, port=5000) as other:
            seen = [{reflector.sees(each, to) for to in at} for each in (one, other)]
    assert [len(each) for each in seen] == [1, 1]
    assert seen[0] != seen[1]


def test_a_home_behind_a_provider_is_as_strict_as_both(lab: Lab):
    provider = lab.device("neighbour", profiles.SYMMETRIC).routers[0]
    device = lab.device("alice", profiles.FULL_CONE, behind=provider)
    assert device.profile.ipv4 == Behaviour(EVERY_PORT, EVERY_PORT)
    with Reflector(lab.server("reflector", addresses=2), IPV4) as reflector:
        assert classify(reflector, device) == device.profile.ipv4


def test_every_profile_is_in_the_documentation():
    page = Path(__file__).parents[3].joinpath("docs/network-lab.md").read_text()
    names = {name for name, value in vars(profiles).items() if isinstance(value, Profile)}
    assert {
        line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and "(" not in line[:12]
    } >= names
    assert {getattr(profiles, name) for name in names} == set(profiles.ALL)


def test_what_routers_do_adds_up_to_what_profiles_say():
    for profile in profiles.ALL:
        for family in ("ipv4", "ipv6"):
            says = getattr(profile, family)
            parts = [getattr(each, family) for each in profile.routers]
            if says is not None and parts:
                whole = parts[0]
                for part in parts[1:]:
                    whole = whole.behind(part)
                assert says == whole, profile.name
