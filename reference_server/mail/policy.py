"""Policy on mail that a user may submit: their own, and encrypted (chatmail's filtermail). Pure functions.

The OpenPGP check is structural: it keeps clients honest, it cannot know that a key belongs to a recipient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.errors import InvalidHeaderDefect
from email.headerregistry import AddressHeader, HeaderRegistry
from email.message import Message
from typing import cast

from .dialects import DIALECTS
from .mime import MAX_HEADER, parse_header, split_parts
from .openpgp import is_armored_encrypted_message
from .settings import Dialect

__all__ = [
    "Accept",
    "Parts",
    "PolicyRules",
    "Refuse",
    "Submission",
    "SubmissionPolicy",
    "Verdict",
    "encrypted_only",
    "from_address",
    "is_encrypted",
    "is_securejoin_request",
]

MAX_FROM = 2048
_SECUREJOIN_REQUESTS = ("vc-request", "vg-request")
_SECUREJOIN_BODY = re.compile(rb"secure-join: v[cg]-request", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """One message at the end of DATA. Addresses are in lower case; the sender is the user who logged in."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True)
class PolicyRules:
    """An entry `@domain` of the recipients stands for everybody there."""

    dialect: Dialect = Dialect.CHATMAIL
    passthrough_senders: frozenset[str] = frozenset()
    passthrough_recipients: frozenset[str] = frozenset()

    def passes_to(self, recipient: str) -> bool:
        """True for somebody who may be sent mail that is not encrypted."""
        return bool({recipient, f"@{recipient.rpartition('@')[2]}"} & self.passthrough_recipients)


@dataclass(frozen=True)
class Accept:
    pass


@dataclass(frozen=True)
class Refuse:
    code: int
    text: str


Verdict = Accept | Refuse
Parts = Sequence[tuple[Message, bytes]]
SubmissionPolicy = Callable[[Submission, PolicyRules], Verdict]


def encrypted_only(submission: Submission, rules: PolicyRules) -> Verdict:
    """`From` is the sender, and the content is encrypted or one of the exemptions."""
    parsed = parse_header(submission.content)
    if parsed is None:
        return Refuse(552, f"5.3.4 The header has no end within {MAX_HEADER} bytes")
    header, body = parsed
    written_by = from_address(header)
    if written_by is None:
        return Refuse(500, "Invalid FROM header: there must be exactly one address")
    if DIALECTS[rules.dialect].canonical(written_by) != submission.sender:
        return Refuse(500, f"Invalid FROM <{written_by}> for <{submission.sender}>")
    parts = split_parts(header, body)
    if (
        is_encrypted(header, parts)
        or is_securejoin_request(header, parts)
        or _is_setup_message(header, submission)
        or _passes_through(submission, rules)
    ):
        return Accept()
    return Refuse(523, DIALECTS[rules.dialect].encryption_needed)


def from_address(header: Message) -> str | None:
    """In lower case. None unless the header names exactly one address, once."""
    fields = [str(field) for field in header.get_all("From", [])]
    if len(fields) != 1 or len(fields[0]) > MAX_FROM:
        return None
    try:
        # Not email.utils.getaddresses: since its security fix of 2024 it refuses `user@[127.0.0.1]`.
        field = HeaderRegistry()("From", fields[0])
    except Exception:
        return None  # that parser documents none: UnboundLocalError for `a@[ `, IndexError for `a:;b:;`, and more
    # What this parser has to guess, another may read as somebody else's address.
    addresses = cast(AddressHeader, field).addresses
    if len(addresses) != 1 or any(isinstance(each, InvalidHeaderDefect) for each in field.defects):
        return None
    address = addresses[0].addr_spec.lower()
    return address if "@" in address and not re.search(r"[\s<>\x00-\x1f]", address) else None


def is_encrypted(header: Message, parts: Parts, *, from_outside: bool = False) -> bool:
    """PGP/MIME (RFC 3156 section 4), to the letter; mail from outside may name the program that encrypted it."""
    if header.get_content_type() != "multipart/encrypted" or len(parts) != 2:
        return False
    (version, version_body), (encrypted, armor) = parts
    return (
        version.get_content_type() == "application/pgp-encrypted"
        and version_body.strip() == b"Version: 1"
        and encrypted.get_content_type() == "application/octet-stream"
        and is_armored_encrypted_message(armor, may_have_version=from_outside)
    )


def is_securejoin_request(header: Message, parts: Parts) -> bool:
    """The first message of secure join, sent before there is a key, by old cores."""
    if header.get_content_type() != "multipart/mixed" or len(parts) != 1:
        return False
    part, body = parts[0]
    return (
        str(header.get("Secure-Join", "")).strip().lower() in _SECUREJOIN_REQUESTS
        and part.get_content_type() == "text/plain"
        and _SECUREJOIN_BODY.fullmatch(body.strip()) is not None
    )


def _is_setup_message(header: Message, submission: Submission) -> bool:
    """An Autocrypt Setup Message that a user sends to nobody but themselves."""
    return (
        submission.recipients == (submission.sender,)
        and header.get_content_type() == "multipart/mixed"
        and str(header.get("Subject", "")).strip() == "Autocrypt Setup Message"
    )


def _passes_through(submission: Submission, rules: PolicyRules) -> bool:
    return submission.sender in rules.passthrough_senders or all(map(rules.passes_to, submission.recipients))
