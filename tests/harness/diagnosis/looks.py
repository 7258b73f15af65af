"""Looks as they come from servers, for tables of what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.report.looks import (
    Allocated,
    CertificateLook,
    HttpLook,
    Look,
    MailLook,
    NameLook,
    PortLook,
    RelayLook,
    TurnLook,
    TurnsLook,
)

HOST, ADDRESS, OTHER = "chat.example.org", "203.0.113.5", "2001:db8::5"
NUMBERS = {"imaps": 993, "submissions": 465, "submission": 587, "https": 443}
GREETINGS = {"imaps": "* OK ready", "submissions": "220 ready", "submission": "220 ready"}
DAY = 86400.0


def port(service: str, reached: Any = "open", address: str = ADDRESS, **fields: Any) -> PortLook:
    greeting = GREETINGS.get(service, "") if reached == "open" else ""
    return replace(PortLook(service, address, NUMBERS[service], reached, greeting=greeting), **fields)


def ports(address: str = ADDRESS, **reached: Any) -> tuple[PortLook, ...]:
    """Those of mail; `imaps="silent"` and so on."""
    return tuple(port(service, reached.get(service, "open"), address) for service in NUMBERS)


def certificate(service: str = "imaps", number: int = 993, **fields: Any) -> CertificateLook:
    found = CertificateLook(service, ADDRESS, number, HOST, (HOST,), "Example CA", 87.0)
    return replace(found, **fields)


MAIL = MailLook(
    ADDRESS,
    log_in="accepted",
    capabilities=("IDLE", "IMAP4REV1", "METADATA"),
    metadata="read",
    keys=("irohrelay", "turn", "turns"),
    dialect="literal",
    turn=f"{HOST}:3478",
    turns=f"{HOST}:5349",
    relay=f"http://{HOST}:3340/",
    expires_in_s=DAY,
    submission="accepted",
    idle_wakes_s=0.02,
    unencrypted="refused",
    unencrypted_words="523 Encryption Needed (at DATA)",
)
NAME = NameLook(HOST, (ADDRESS,), 1, seconds=0.02)
RELAY = RelayLook(
    MAIL.relay,
    secure=False,
    ports=(PortLook("relay", ADDRESS, 3340, "open"),),
    upgrade=HttpLook(101),
    page=HttpLook(200, is_relay=True),
    ping=200,
    generate_204=204,
    admits_035=True,
    admits_v1=True,
    arrived=(64, 1201, 14000),
    stun=True,
)
GRANTED = Allocated("granted", relayed=f"{ADDRESS}:65400", place="own")
REFUSED = Allocated("refused", 401, "Unauthorized")
TURN = TurnLook(
    HOST,
    3478,
    udp=(PortLook("turn/udp", ADDRESS, 3478, "open"),),
    tcp=(PortLook("turn/tcp", ADDRESS, 3478, "open"),),
    address=ADDRESS,
    realm=HOST,
    first=GRANTED,
    second=replace(GRANTED, relayed=f"{ADDRESS}:65401"),
    pair=True,
    from_outside=True,
    to_outside=True,
)
HEALTHY = Look(
    HOST,
    1795766760.0,
    3.1,
    own=(ADDRESS,),
    name=NAME,
    ports=ports(),
    certificates=(certificate(), certificate("submissions", 465), certificate("https", 443)),
    clock_ahead_s=0.2,
    mail=MAIL,
    relay_name=NAME,
    relay=RELAY,
    turn_name=NAME,
    turn=TURN,
    turns=TurnsLook(HOST, 5349, "open", certificate("turns", 5349), answers=True),
    accounts_left=2,
)


def with_mail(**fields: Any) -> Look:
    return replace(HEALTHY, mail=replace(MAIL, **fields))


def with_turn(**fields: Any) -> Look:
    return replace(HEALTHY, turn=replace(TURN, **fields))


def with_relay(**fields: Any) -> Look:
    return replace(HEALTHY, relay=replace(RELAY, **fields))


def not_admitted(status: int | None, server: str = "", **fields: Any) -> Look:
    """A relay that answered the upgrade of 0.35 with this status."""
    upgrade = HttpLook(status, server)
    fields = {"admits_v1": False, "page": HttpLook(200, server, is_relay=True)} | fields
    return with_relay(upgrade=upgrade, admits_035=False, arrived=(), **fields)


def before_the_log_in(**fields: Any) -> Look:
    """A look that ended at the ports."""
    return replace(
        HEALTHY, mail=None, relay_name=None, relay=None, turn_name=None, turn=None, turns=None, **fields
    )
