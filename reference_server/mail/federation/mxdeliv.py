"""`POST /mxdeliv`, by which madmail's servers bring each other mail: envelope in headers, mail in the body.

Who does not live here, or must not be written to, is passed over without a word, so that nobody learns who does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..store import Account
from ..store_thread import StoreUnavailable
from .inbound import Inbound
from .policy import FromOutside

__all__ = ["PATH", "Delivered", "take_posted"]

PATH = b"/mxdeliv"
SENDER, RECIPIENT = b"x-mail-from", b"x-mail-to"
NEVER_WRITTEN_TO = ("admin", "root", "postmaster", "mailer-daemon", "abuse", "hostmaster", "webmaster")
NEVER_LISTENED_TO = ("admin",)
_BARE_LF = re.compile(rb"(?<!\r)\n")
"""Ends a line for those who post mail as it is in a file; HTTP says how long it is, so nothing is smuggled in by it."""
STATUS = {451: 500, 523: 403, 552: 413, 550: 403, 554: 403}
"""Of HTTP, by code of SMTP; any other is a bad request."""


@dataclass(frozen=True)
class Delivered:
    """The answer."""

    status: int
    text: str


OK = Delivered(200, "OK")


async def take_posted(inbound: Inbound, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> Delivered:
    """Deliver a mail to those of its recipients who live here. `headers`: of the request, names in lower case."""
    canonical = inbound.accounts.canonical
    told = {
        name: [canonical(_text(value)) for at, value in headers if at == name] for name in (SENDER, RECIPIENT)
    }
    sender = next(iter(told[SENDER]), "")
    if not told[RECIPIENT]:
        return Delivered(400, "bad request: there is no X-Mail-To")
    try:
        known = await _known(inbound, told[RECIPIENT])
        if not known or _name(sender) in NEVER_LISTENED_TO:
            return OK
        with_room = [account for account in known if await inbound.has_room(account)]
    except StoreUnavailable:
        return Delivered(500, "error")
    if not with_room:
        return Delivered(507, "quota")
    recipients = tuple(account.address for account in with_room)
    mail = FromOutside(sender, recipients, _BARE_LF.sub(b"\r\n", content), None, inbound.own_domain)
    refusal = await inbound.take(mail, with_room)
    if refusal is None:
        return OK
    return Delivered(STATUS.get(refusal.code, 400), refusal.text)


async def _known(inbound: Inbound, recipients: Sequence[str]) -> list[Account]:
    allowed = [each for each in dict.fromkeys(recipients) if _name(each) not in NEVER_WRITTEN_TO]
    found = [await inbound.accounts.find(each) for each in allowed if inbound.is_local(each)]
    return [account for account in found if account is not None]


def _name(address: str) -> str:
    return address.rpartition("@")[0]


def _text(value: bytes) -> str:
    return value.decode("ascii", errors="backslashreplace").strip()
