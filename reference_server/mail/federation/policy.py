"""Policy on mail that comes from other servers (chatmail's filtermail and milters). Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message

from ..dialects import DIALECTS
from ..mime import MAX_HEADER, parse_header, split_parts
from ..policy import (
    Accept,
    Parts,
    PolicyRules,
    Refuse,
    Verdict,
    from_address,
    is_encrypted,
    is_securejoin_request,
)
from .routes import address_in

__all__ = ["NO_SENDER", "FromOutside", "OutsidePolicy", "domain_of_author", "encrypted_from_outside"]

MOST_HOPS = 50
"""Fields `Received`, as postfix has it (RFC 5321 section 6.3 asks for a large number)."""
NO_SENDER = ""
"""Of the envelope of a report (RFC 5321 section 4.5.5)."""


@dataclass(frozen=True)
class FromOutside:
    """One mail at the end of DATA. Addresses are in lower case."""

    sender: str
    """Of the envelope; empty for a report."""
    recipients: tuple[str, ...]
    content: bytes
    peer: str | None
    """Address that it comes from; None: it came by HTTP, and madmail asks nobody there who they are."""
    own_domain: str


OutsidePolicy = Callable[[FromOutside, PolicyRules], Verdict]


def encrypted_from_outside(mail: FromOutside, rules: PolicyRules) -> Verdict:
    """`From` is the sender of the envelope and lives elsewhere; the content is encrypted or one of the exemptions."""
    parsed = parse_header(mail.content)
    if parsed is None:
        return Refuse(552, f"5.3.4 The header has no end within {MAX_HEADER} bytes")
    header, body = parsed
    if len(header.get_all("Received", [])) > MOST_HOPS:
        return Refuse(554, f"5.4.6 Error: too many hops, the mail has been at more than {MOST_HOPS} servers")
    author = from_address(header)
    if author is None:
        return Refuse(500, "Invalid FROM header: there must be exactly one address")
    author = DIALECTS[rules.dialect].canonical(author)
    if (refusal := _refuse_author(mail, author)) is not None:
        return refusal
    parts = split_parts(header, body)
    if (
        is_encrypted(header, parts, from_outside=True)
        or is_securejoin_request(header, parts)
        or _is_report(header, author, parts)
        or all(rules.passes_to(each) for each in mail.recipients)
    ):
        return Accept()
    return Refuse(523, DIALECTS[rules.dialect].encryption_needed)


def _refuse_author(mail: FromOutside, author: str) -> Refuse | None:
    domain = author.rpartition("@")[2]
    if mail.sender not in (NO_SENDER, author):
        return Refuse(500, f"Invalid FROM <{author}> for <{mail.sender}>")
    if mail.peer is not None and domain == mail.own_domain:
        return Refuse(550, f"5.7.1 <{author}> is of this server, and this mail is not")
    if mail.peer is not None and address_in(domain) not in (None, mail.peer):
        return Refuse(550, f"5.7.1 Mail of <{author}> comes from there only, and not from {mail.peer}")
    return None


def domain_of_author(content: bytes) -> str | None:
    """The domain that must have signed a mail; None: there is one author too few or too many, or it is an address."""
    parsed = parse_header(content)
    author = from_address(parsed[0]) if parsed else None
    domain = author.rpartition("@")[2] if author else None
    return None if domain is None or domain.startswith("[") else domain


def _is_report(header: Message, author: str, parts: Parts) -> bool:
    """A bounce, which a server writes that has no keys (RFC 3464)."""
    return (
        author.startswith("mailer-daemon@")
        and str(header.get("Auto-Submitted", "")).strip() != ""
        and header.get_content_type() == "multipart/report"
        and bool(parts)
    )
