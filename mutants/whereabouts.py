"""Mutants that are not where their names say."""

from __future__ import annotations

from . import mail, turn
from .declaration import Kill, Mutant

__all__ = ["WHEREABOUTS"]

WHEREABOUTS = (
    Mutant(
        "turn_at_localhost",
        "settings",
        "mail",
        mail.with_turn_at_localhost,
        "METADATA names a host for TURN that is another one for each client",
        (
            Kill("names.turn_host_leads_to_the_target", "names localhost as the TURN server, and that is at"),
            Kill("names.core_finds_turn_by_its_name", "names localhost as the TURN server, and that is at"),
        ),
    ),
    Mutant(
        "mail_on_ipv4_only",
        "settings",
        "mail",
        mail.listening_on_ipv4_only,
        "the server's name has an IPv6 address, where nobody answers",
        (Kill("ipv6.devices_without_ipv4_are_served", "nobody answers over IPv6 at"),),
    ),
    Mutant(
        "turn_on_ipv4_only",
        "settings",
        "turn",
        turn.listening_on_ipv4_only,
        "nobody answers STUN at the relay's IPv6 address",
        (Kill("ipv6.devices_without_ipv4_are_served", "no STUN over IPv6 at"),),
    ),
)
