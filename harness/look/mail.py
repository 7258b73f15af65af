"""Mail: the log-in of a new account, METADATA as core asks for it, IDLE, and mail that must be refused."""

from __future__ import annotations

import contextlib
import imaplib
import re
import time
from dataclasses import dataclass, replace
from typing import Literal

from ..accounts import Credentials
from ..calls.servers import TURN_KEY, TURNS_KEY, TurnOffer
from ..clients.mail.imap import ImapBye, ImapClient, ImapError, ImapRefused
from ..clients.mail.imap_syntax import MetadataValue
from ..clients.mail.messages import encrypted_message, plain_message
from ..clients.mail.smtp import SmtpClient, SmtpError, SmtpRefused
from ..clients.turn.client import TurnError
from ..hosts import Host
from ..report.looks import MailLook
from ..target import Target
from ..text import clean
from ..urls import RelayUrl, UrlError
from ..waiting import WaitTimeout
from .known_secrets import known_secret

__all__ = ["MailSeen", "look_at_delivery", "look_at_session"]

WITHIN = 4.0
"""Seconds for one answer."""
WAKES_WITHIN = 2.0
"""Seconds in which a client in IDLE hears of a new mail."""
MOST = 2 * 1024 * 1024
"""Bytes of one answer; METADATA has some hundred."""
SHORTEST_SECRET = 8
"""Characters: a shorter one is no HMAC, and cannot be taken out of texts."""
SHOWN = 160
RELAY_KEY = "/shared/vendor/deltachat/irohrelay"
PREFIX = "/shared/vendor/deltachat/"
KEYS = (RELAY_KEY, TURN_KEY, TURNS_KEY)
IN_MILLISECONDS = 10**11
"""As unix seconds, that is the year 5138."""
TOO_MANY = re.compile(r"\[(LIMIT|INUSE)\]|too many|maximum number of connections", re.IGNORECASE)
OWN_FAULT = re.compile(r"\[(UNAVAILABLE|SERVERBUG|CONTACTADMIN|PRIVACYREQUIRED)\]", re.IGNORECASE)
HMAC_CHARACTERS = 28
OF_HMAC = re.compile(r"[A-Za-z0-9+/]{27}=")
USER_AND_PASSWORD = re.compile(r"[^\s/'\"]*@")
BROKEN = (ImapError, SmtpError, WaitTimeout, OSError)


@dataclass(frozen=True)
class MailSeen:
    """What a look at mail found, with what the looks after it need: the offers have a password, and are no record."""

    look: MailLook
    turn: TurnOffer | None = None
    turns: TurnOffer | None = None
    relay: RelayUrl | None = None


def look_at_session(host: Host, target: Target, account: Credentials, address: str) -> MailSeen:
    """Log in, ask for the capabilities, and read METADATA where they have it: in the way and order of core."""
    look = MailLook(address)
    try:
        with ImapClient(host, target, within=WITHIN, most=MOST) as imap:
            imap.login(account)
            look = replace(look, log_in="accepted")
            capabilities = tuple(sorted(clean(each, SHOWN) for each in imap.capabilities()))[:100]
            look = replace(look, capabilities=capabilities)
            if "METADATA" in capabilities:
                return _read(look, imap, target)
    except ImapRefused as refusal:
        kind = look.log_in or _kind_of(refusal)
        return MailSeen(replace(look, log_in=kind, log_in_words=_words(refusal)))
    except ImapBye as error:
        return MailSeen(replace(look, log_in="failed", log_in_words=_words(error)))
    except BROKEN as error:
        return MailSeen(replace(look, log_in="broken", log_in_words=_words(error)))
    return MailSeen(look)


def _kind_of(refusal: ImapRefused) -> Literal["refused", "limited", "failed"]:
    """By the code of the answer (RFC 5530)."""
    answer = refusal.answer
    if TOO_MANY.search(answer.text):
        return "limited"
    return "failed" if answer.status == "BAD" or OWN_FAULT.search(answer.text) else "refused"


def _read(look: MailLook, imap: ImapClient, target: Target) -> MailSeen:
    try:
        values = imap.get_metadata(*KEYS)
    except ImapRefused as refusal:
        return MailSeen(replace(look, metadata="refused", metadata_words=_words(refusal)))
    except BROKEN as error:
        return MailSeen(replace(look, metadata="unreadable", metadata_words=_words(error)))
    found = {key: each for key, each in values.items() if key in KEYS and each.value}
    forms = sorted({each.form for each in found.values()})
    look = replace(
        look,
        metadata="read",
        keys=tuple(key.removeprefix(PREFIX) for key in KEYS if key in found),
        dialect=", ".join(forms),
    )
    seen = _with_turn(MailSeen(look), found, target)
    return _with_relay(seen, found)


def _with_turn(seen: MailSeen, found: dict[str, MetadataValue], target: Target) -> MailSeen:
    offers, problems = {}, {}
    for key in (TURN_KEY, TURNS_KEY):
        if key in found:
            value = found[key].value or ""
            try:
                offers[key] = TurnOffer.parse(value)
                if len(offers[key].password) >= SHORTEST_SECRET:
                    target.on_secret(offers[key].password)
            except TurnError as error:
                problems[key] = clean(str(error).replace(TURN_KEY, key), SHOWN)
    turn, turns = offers.get(TURN_KEY), offers.get(TURNS_KEY)
    look = replace(
        seen.look,
        turn=_server(turn),
        turns=_server(turns),
        turn_problem=problems.get(TURN_KEY, ""),
        turns_problem=problems.get(TURNS_KEY, ""),
    )
    if turn is not None:
        expiry = int(turn.username)
        look = replace(
            look,
            expiry=turn.username,
            expires_in_s=round(expiry - time.time(), 1),
            expiry_in_milliseconds=expiry > IN_MILLISECONDS,
            known_secret=known_secret(turn.credentials),
            password_problem=_password_problem(turn.password),
        )
    return replace(seen, look=look, turn=turn, turns=turns)


def _password_problem(password: str) -> str:
    """Why it is not base64 of an HMAC with SHA-1, as TURN computes it; empty if it may be."""
    if password != password.strip():
        return "it begins or ends with white space, which is a part of it"
    if OF_HMAC.fullmatch(password):
        return ""
    size = f"it has {len(password)} characters, and base64 of an HMAC with SHA-1 has 28"
    return size if len(password) != HMAC_CHARACTERS else "it is no base64 of an HMAC with SHA-1"


def _server(offer: TurnOffer | None) -> str:
    return clean(f"{offer.host}:{offer.port}", SHOWN) if offer is not None else ""


def _with_relay(seen: MailSeen, found: dict[str, MetadataValue]) -> MailSeen:
    if RELAY_KEY not in found:
        return seen
    try:
        url = RelayUrl.parse(found[RELAY_KEY].value or "")
    except UrlError as error:
        problem = clean(USER_AND_PASSWORD.sub("", str(error)), SHOWN)
        return replace(seen, look=replace(seen.look, relay_problem=problem))
    return replace(seen, look=replace(seen.look, relay=clean(str(url), SHOWN)), relay=url)


def look_at_delivery(
    host: Host, target: Target, look: MailLook, alice: Credentials, bob: Credentials
) -> MailLook:
    """An encrypted mail to oneself wakes IDLE; a readable one to bob, who has logged in before, is refused."""
    with contextlib.ExitStack() as stack:
        try:
            imap = stack.enter_context(ImapClient(host, target, within=WITHIN, most=MOST))
            imap.login(alice)
            known = imap.select()
            smtp = stack.enter_context(SmtpClient(host, target, within=WITHIN))
            smtp.login(alice)
        except SmtpRefused as refusal:
            return replace(look, submission="refused", submission_words=_words(refusal))
        except BROKEN as error:
            return replace(look, submission="broken", submission_words=_words(error))
        try:
            look = _idle(look, imap, smtp, alice, known)
        except BROKEN as error:
            look = replace(look, submission=look.submission or "broken", submission_words=_words(error))
        return _readable(look, smtp, alice, bob)


def _idle(look: MailLook, imap: ImapClient, smtp: SmtpClient, alice: Credentials, known: int) -> MailLook:
    address = alice.address
    message = encrypted_message(address, address, marker=f"look-{time.time_ns()}")
    with imap.idle() as idle:
        reply = smtp.submit(address, [address], message)
        if not reply.accepted:
            return replace(look, submission="refused", submission_words=clean(str(reply), SHOWN))
        look, began = replace(look, submission="accepted"), time.monotonic()
        with contextlib.suppress(WaitTimeout):
            idle.wait_for_exists(within=WAKES_WITHIN)
            look = replace(look, idle_wakes_s=round(time.monotonic() - began, 3))
    if look.idle_wakes_s is None:
        look = replace(look, idle_found_later=imap.select() > known)
    return replace(look, clock_ahead_s=_clock(imap))


def _clock(imap: ImapClient) -> float | None:
    """By the time at which the newest mail came, which has full seconds (RFC 3501, 2.3.3)."""
    said = b" ".join(imap.command("FETCH * (INTERNALDATE)").untagged)
    try:
        came = imaplib.Internaldate2tuple(said)
    except (ValueError, OverflowError):
        return None
    return None if came is None else round(time.mktime(came) + 0.5 - time.time(), 1)


def _readable(look: MailLook, smtp: SmtpClient, alice: Credentials, bob: Credentials) -> MailLook:
    try:
        text = "This must be refused: it is a test by dc-harness, and everybody can read it."
        message = plain_message(alice.address, bob.address, marker=f"plain-{time.time_ns()}", text=text)
        reply = smtp.submit(alice.address, [bob.address], message)
    except BROKEN as error:
        return replace(look, unencrypted_words=_words(error))
    words = clean(str(reply), SHOWN)
    return replace(look, unencrypted="accepted" if reply.accepted else "refused", unencrypted_words=words)


def _words(error: BaseException) -> str:
    return clean(str(error), SHOWN)
