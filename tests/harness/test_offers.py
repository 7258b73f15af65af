"""Ownership of what METADATA offers: every address counts, as phones send their credentials to all of them."""

from __future__ import annotations

import socket

import pytest

from harness.hosts import LocalHost
from harness.stage.offers import belongs_to

from .test_options import a_target

ADDRESSES = {
    "mail.example.org": ("203.0.113.5", "2001:db8::5"),
    "own.example.org": ("203.0.113.5",),
    "both.example.org": ("203.0.113.5", "198.51.100.9"),
    "elsewhere.example.org": ("198.51.100.9",),
    "domain.example.org": ("198.51.100.9",),
}


class Resolver(LocalHost):
    def resolve(self, name: str) -> tuple[str, ...]:
        if name in ADDRESSES:
            return ADDRESSES[name]
        if name[0].isdigit():
            return (name,)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("mail.example.org", True),
        ("MAIL.example.org.", True),
        ("own.example.org", True),
        ("203.0.113.5", True),
        ("both.example.org", False),
        ("elsewhere.example.org", False),
        ("domain.example.org", False),
        ("nowhere.example.org", False),
        ("198.51.100.9", False),
    ],
)
def test_all_addresses_of_a_name_must_be_the_targets(name, own):
    target = a_target(host="mail.example.org", domain="domain.example.org")
    assert belongs_to(target, name, Resolver()) == own


def test_a_further_host_of_the_operator_can_be_declared():
    target = a_target(host="mail.example.org", other_addresses=frozenset({"198.51.100.9"}))
    assert belongs_to(target, "both.example.org", Resolver())
