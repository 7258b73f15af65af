import dataclasses

import pytest

from harness.servers.compose import SET_BY
from harness.servers.madmail import Madmail
from harness.servers.reference import Reference
from harness.servers.server import ContradictingWants, TurnLifetimes, Unsupported, Wants, require
from harness.target import Service

LIFETIMES = TurnLifetimes(allocation=60, permission=4, channel=8)


def test_both_ask_for_all_that_either_asks_for():
    both = Wants(turn_ttl=4) | Wants(
        turn_lifetimes=LIFETIMES, services=frozenset({Service.MAIL, Service.TURN})
    )
    assert both == Wants(
        turn_ttl=4, turn_lifetimes=LIFETIMES, services=frozenset({Service.MAIL, Service.TURN})
    )
    assert both.stated == {"turn_ttl", "turn_lifetimes"}


def test_the_same_value_twice_is_no_contradiction():
    assert Wants(turn_ttl=4) | Wants(turn_ttl=4) == Wants(turn_ttl=4)


def test_contradicting_values_are_named_and_not_shown():
    one = Wants(turn_ttl=4, turn_secret="geheim", strict_permissions=True)
    other = Wants(turn_ttl=5, turn_secret="streng", strict_permissions=True)
    with pytest.raises(ContradictingWants, match=r"two values of turn_secret, turn_ttl$"):
        one | other


def test_no_server_runs_these_alone_and_those_alone():
    with pytest.raises(ContradictingWants, match="alone"):
        Wants(services=frozenset({Service.MAIL})) | Wants(services=frozenset({Service.TURN}))


def test_false_is_something_to_ask_for():
    assert Wants(strict_permissions=False).stated == {"strict_permissions"}


def test_preferences_are_dropped_where_they_cannot_be_had():
    wants = Wants(turn_ttl=4, relay_ping_interval=2.0)
    assert wants.only(frozenset({"turn_ttl", "both_families"})) == Wants(turn_ttl=4)
    assert wants.only(frozenset()).stated == frozenset()


def test_a_want_that_cannot_be_had_is_unsupported_by_name():
    class OnlyTtl:
        name = "little"
        translates = frozenset({"turn_ttl"})

    require(OnlyTtl(), Wants(turn_ttl=4))  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match=r"^little cannot set strict_permissions$"):
        require(OnlyTtl(), Wants(turn_ttl=4, strict_permissions=True))  # type: ignore[arg-type]


def test_no_secret_is_printed():
    assert "geheim" not in repr(Wants(turn_secret="geheim"))


def test_every_want_has_somebody_who_sets_it():
    every = {each.name for each in dataclasses.fields(Wants)} - {"services"}
    assert set(SET_BY) == every
    # Ours is a package: it has no file that could have another name.
    assert Reference.translates == every - {"program_name"}
    assert "program_name" in Madmail.translates
