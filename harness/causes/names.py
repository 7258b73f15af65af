"""Causes at the name of the server itself."""

from __future__ import annotations

from .cause import Cause
from .checks import EVERYTHING

__all__ = ["CAUSES"]

CAUSES = (
    Cause(
        "name.does_not_resolve",
        "The server's name does not exist.",
        "A name server answers, and says that there is no such name, or that it has no address.",
        "Nobody reaches the server: no mail, no calls, no realtime data.",
        {
            "dns": "Add an A record (and an AAAA record if the server has IPv6) for the name. If the domain has "
            "expired, renew it first.",
        },
        EVERYTHING,
    ),
    Cause(
        "name.dns_silent",
        "No name server says where the server is.",
        "The question was asked several times; no answer came, or one that says `try again` (SERVFAIL).",
        "Each connection waits for seconds, and then fails: phones look offline.",
        {
            "dns": "Look at the name servers of the domain (`dig +trace NAME`): they must be up, and answer over "
            "UDP and TCP port 53. With DNSSEC, look for expired signatures. If other names do not resolve either, "
            "the fault is at the resolver of the machine that asked.",
        },
        EVERYTHING,
    ),
    Cause(
        "name.address_dead",
        "The server's name has an address at which nobody answers.",
        "Every address of the name was tried by itself, on every mail port: one answers, another does not.",
        "Clients that take that address first wait for up to 30 s at each connection, or do not get through at all.",
        {
            "dns": "Take the address out of the zone, or make the server listen there too. An AAAA record is only "
            "for a server that has IPv6.",
            "firewall": "The rules for IPv6 are often separate ones: allow TCP 993, 465, 587 and 443 there as well.",
            "madmail": "Listen on both families: `imap tls://0.0.0.0:993 tls://[::]:993 { ... }`.",
        },
        ("ipv6.devices_without_ipv4_are_served", "tls.certificates_are_trusted"),
    ),
)
