"""Servers that are not where their names say."""

from __future__ import annotations

from dataclasses import replace

from reference_server.mail.settings import MailSettings
from reference_server.programs import standard_program
from reference_server.service import Service
from reference_server.turn.settings import Transport, TurnSettings
from reference_server.turn.stun import AddressFamily

from .declaration import mutant
from .wire import answer_stun


@mutant(
    "mail",
    "METADATA names a host for TURN that is another one for each client",
    kills={
        "names.turn_host_leads_to_the_target": "names localhost as the TURN server, and that is at",
        "names.core_finds_turn_by_its_name": "names localhost as the TURN server, and that is at",
    },
)
def turn_at_localhost(settings: MailSettings) -> Service:
    assert settings.turn_address is not None
    localhost = f"localhost:{settings.turn_address.rpartition(':')[2]}"
    return standard_program("mail")(replace(settings, turn_address=localhost))


@mutant(
    "mail",
    "the server's name has an IPv6 address, where nobody answers",
    kills={"ipv6.devices_without_ipv4_are_served": "nobody answers over IPv6 at"},
)
def mail_on_ipv4_only(settings: MailSettings) -> Service:
    host = "0.0.0.0" if settings.host == "::" else settings.host  # noqa: S104 - in a lab
    return standard_program("mail")(replace(settings, host=host))


@mutant(
    "turn",
    "something on UDP 3478 answers STUN, and it is not TURN",
    kills={
        "turn.turn_has_udp_3478": "answers STUN, but TURN does not have it",
        "turn.turn_grants_an_allocation": "so something else than TURN has the port",
    },
)
def turn_leaves_its_port_to_stun(settings: TurnSettings) -> Service:
    """As when an iroh relay with `enable_stun` was there first; TURN takes another port, of which nobody is told."""
    assert settings.udp_fd is not None
    answer_stun(settings.udp_fd)
    listeners = tuple(
        each._replace(address=each.address._replace(port=0)) if each.transport is Transport.UDP else each
        for each in settings.listeners
    )
    return standard_program("turn")(replace(settings, listeners=listeners, udp_fd=None))


@mutant(
    "turn",
    "nobody answers STUN at the relay's IPv6 address",
    kills={"ipv6.devices_without_ipv4_are_served": "no STUN over IPv6 at"},
)
def turn_on_ipv4_only(settings: TurnSettings) -> Service:
    listeners = tuple(
        each
        for each in settings.listeners
        if (each.transport, each.address.family) != (Transport.UDP, AddressFamily.IPV6)
    )
    return standard_program("turn")(replace(settings, listeners=listeners))
