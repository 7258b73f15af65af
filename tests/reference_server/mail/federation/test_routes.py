"""Hosts for the mail of a domain, by what a name server says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from reference_server.mail.federation.resolver import Dns
from reference_server.mail.federation.routes import (
    LookupFailed,
    NoRoute,
    OwnPlace,
    Route,
    address_in,
    find_routes,
    is_domain,
)
from tests.reference_server.mail.federation.zone import Zone

OWN = OwnPlace(frozenset({"own.test"}), frozenset({"203.0.113.1"}))


@pytest.fixture
def dns(zone: Zone) -> Dns:
    return Dns(("127.0.0.1", zone.port))


def routes(domain: str, dns: Dns, own: OwnPlace = OWN) -> Sequence[Route]:
    return asyncio.run(find_routes(domain, dns, own))


def refusal(domain: str, dns: Dns) -> NoRoute:
    with pytest.raises(NoRoute) as raised:
        routes(domain, dns)
    return raised.value


def test_mx_by_preference_with_all_of_their_addresses(zone: Zone, dns: Dns) -> None:
    zone.set("two.test", "MX", "20 b.two.test.", "10 a.two.test.", "30 gone.two.test.")
    zone.set("a.two.test", "A", "203.0.113.7", "203.0.113.8")
    zone.set("b.two.test", "AAAA", "2001:db8::1")
    assert sorted(routes("two.test", dns)[0].addresses) == ["203.0.113.7", "203.0.113.8"]
    assert [each.host for each in routes("two.test", dns)] == ["a.two.test", "b.two.test"]


def test_without_mx_the_domain_itself_is_the_host(zone: Zone, dns: Dns) -> None:
    zone.set("two.test", "A", "203.0.113.7")
    assert routes("two.test", dns) == [Route("two.test", ("203.0.113.7",))]


def test_an_alias_is_followed(zone: Zone, dns: Dns) -> None:
    zone.set("two.test", "MX", "10 alias.two.test.")
    zone.set("alias.two.test", "CNAME", "real.two.test.")
    zone.set("real.two.test", "A", "203.0.113.7")
    assert routes("two.test", dns) == [Route("alias.two.test", ("203.0.113.7",))]


def test_an_address_needs_no_name_server(dns: Dns) -> None:
    assert routes("[203.0.113.7]", dns) == [Route("203.0.113.7", ("203.0.113.7",))]
    assert routes("[ipv6:2001:DB8::0:1]", dns) == [Route("2001:db8::1", ("2001:db8::1",))]


@pytest.mark.parametrize(
    ("records", "is_final"),
    [
        ([], True),  # NXDOMAIN
        ([("two.test", "MX", "0 .")], True),  # RFC 7505
        ([("two.test", "MX", "10 own.test.")], True),
        ([("two.test", "MX", "10 x.two.test."), ("x.two.test", "A", "203.0.113.1")], True),
        ([("two.test", "MX", "10 x.two.test."), ("x.two.test", "A", "127.0.0.1")], True),
        ([("two.test", "A", "0.0.0.0")], True),
        ([("two.test", "AAAA", "::1")], True),
        ([("two.test", "A", "203.0.113.1")], True),
        ([("two.test", "MX", "10 gone.two.test.")], False),
        ([("two.test", "TXT", '"no host"')], False),
    ],
)
def test_where_no_way_leads(
    zone: Zone, dns: Dns, records: list[tuple[str, str, str]], is_final: bool
) -> None:
    for name, kind, value in records:
        zone.set(name, kind, value)
    assert refusal("two.test", dns).is_final is is_final


def test_a_name_server_that_fails_is_asked_again_later(zone: Zone, dns: Dns) -> None:
    zone.failing.add("two.test")
    assert not refusal("two.test", dns).is_final
    zone.failing = {"a.two.test"}
    zone.set("two.test", "MX", "10 a.two.test.")
    assert not refusal("two.test", dns).is_final


def test_mail_is_not_sent_past_this_server_to_worse_hosts(zone: Zone, dns: Dns) -> None:
    """RFC 5321, 5.1: they would bring it back."""
    zone.set("two.test", "MX", "10 a.two.test.", "20 own.test.", "30 b.two.test.")
    for name in ("a.two.test", "b.two.test"):
        zone.set(name, "A", "203.0.113.7")
    assert [each.host for each in routes("two.test", dns)] == ["a.two.test"]


def test_only_a_server_on_the_loopback_has_neighbours_there(zone: Zone, dns: Dns) -> None:
    zone.set("two.test", "A", "127.1.1.2")
    own = OwnPlace(frozenset({"own.test"}), frozenset({"127.1.1.1"}))
    assert routes("two.test", dns, own) == [Route("two.test", ("127.1.1.2",))]


def test_a_text_record_is_one_text(zone: Zone, dns: Dns) -> None:
    zone.txt("key.two.test", "x" * 600)
    assert asyncio.run(dns.txt("key.two.test")) == [b"x" * 600]
    zone.failing.add("key.two.test")
    with pytest.raises(LookupFailed):
        asyncio.run(dns.txt("key.two.test"))


@pytest.mark.parametrize(
    "domain", ["two.test", "_two.test", "a-b.c1", "[1.2.3.4]", "[IPv6:::1]", "localhost"]
)
def test_domains_that_mail_can_be_sent_to(domain: str) -> None:
    assert is_domain(domain.lower())


@pytest.mark.parametrize(
    "domain",
    ["", ".", "a..b", "-a.b", "a b", "1.2.3.4", "[1.2.3]", "[x]", "a" * 64, "a>\r\nRCPT", "a." * 130 + "b"],
)
def test_domains_that_are_none(domain: str) -> None:
    assert not is_domain(domain)
    assert address_in(domain) is None
