"""Which mail a user may submit: their own, and encrypted (chatmail's filtermail). Pure functions.

The OpenPGP check is structural: it keeps clients honest, it cannot know that a key belongs to a recipient.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import getaddresses, parseaddr

from .openpgp import is_armored_encrypted_message
from .settings import Dialect

__all__ = ["Accept", "PolicyRules", "Refuse", "Submission", "SubmissionPolicy", "Verdict", "encrypted_only"]

MAX_HEADER = 1024 * 1024
ENCRYPTION_NEEDED = {
    Dialect.CHATMAIL: "Encryption Needed: Invalid Unencrypted Mail",
    Dialect.MADMAIL: "5.7.1 Encryption Needed",
}
_SECUREJOIN_REQUESTS = ("vc-request", "vg-request")
_SECUREJOIN_BODY = re.compile(r"secure-join: v[cg]-request", re.IGNORECASE)


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


@dataclass(frozen=True)
class Accept:
    pass


@dataclass(frozen=True)
class Refuse:
    code: int
    text: str


Verdict = Accept | Refuse
SubmissionPolicy = Callable[[Submission, PolicyRules], Verdict]


def encrypted_only(submission: Submission, rules: PolicyRules) -> Verdict:
    """`From` is the sender, and the content is encrypted or one of the exemptions."""
    if submission.content.find(b"\r\n\r\n", 0, MAX_HEADER) < 0 and len(submission.content) > MAX_HEADER:
        return Refuse(552, f"5.3.4 The header is larger than {MAX_HEADER} bytes")
    message = BytesParser(policy=compat32).parsebytes(submission.content)
    written_by = _from_address(message)
    if written_by is None:
        return Refuse(500, "Invalid FROM header: there must be exactly one address")
    if written_by != submission.sender:
        return Refuse(500, f"Invalid FROM <{written_by}> for <{submission.sender}>")
    if (
        _is_encrypted(message)
        or _is_securejoin_request(message)
        or _is_setup_message(message, submission)
        or _passes_through(submission, rules)
    ):
        return Accept()
    return Refuse(523, ENCRYPTION_NEEDED[rules.dialect])


def _from_address(message: Message) -> str | None:
    """In lower case. None unless the header names exactly one address, once."""
    headers = message.get_all("From", [])
    try:
        addresses = getaddresses([str(header) for header in headers])
    except (HeaderParseError, ValueError, IndexError):
        return None
    if len(headers) != 1 or len(addresses) != 1:
        return None
    address = parseaddr(str(headers[0]))[1].lower()
    return address if "@" in address and not re.search(r"[\s<>\x00-\x1f]", address) else None


def _is_encrypted(message: Message) -> bool:
    """PGP/MIME (RFC 3156 section 4), to the letter."""
    parts = _parts(message, "multipart/encrypted")
    if len(parts) != 2:
        return False
    version, encrypted = parts
    return (
        version.get_content_type() == "application/pgp-encrypted"
        and _body(version).strip() == b"Version: 1"
        and encrypted.get_content_type() == "application/octet-stream"
        and is_armored_encrypted_message(_body(encrypted), may_have_version=False)
    )


def _is_securejoin_request(message: Message) -> bool:
    """The first message of secure join, sent before there is a key, by cores older than 2.x."""
    parts = _parts(message, "multipart/mixed")
    return (
        str(message.get("Secure-Join", "")).strip().lower() in _SECUREJOIN_REQUESTS
        and len(parts) == 1
        and parts[0].get_content_type() == "text/plain"
        and _SECUREJOIN_BODY.fullmatch(_body(parts[0]).decode("utf-8", "replace").strip()) is not None
    )


def _is_setup_message(message: Message, submission: Submission) -> bool:
    """An Autocrypt Setup Message that a user sends to nobody but themselves."""
    return (
        submission.recipients == (submission.sender,)
        and message.get_content_type() == "multipart/mixed"
        and str(message.get("Subject", "")).strip() == "Autocrypt Setup Message"
    )


def _passes_through(submission: Submission, rules: PolicyRules) -> bool:
    def passes(recipient: str) -> bool:
        domain = recipient.rpartition("@")[2]
        return bool({recipient, f"@{domain}"} & rules.passthrough_recipients)

    return submission.sender in rules.passthrough_senders or all(map(passes, submission.recipients))


def _parts(message: Message, content_type: str) -> list[Message]:
    """The parts of a multipart message of that type; none if it is something else or has defects."""
    payload = message.get_payload()
    if message.get_content_type() != content_type or not isinstance(payload, list):
        return []
    return [part for part in payload if isinstance(part, Message)]


def _body(part: Message) -> bytes:
    """A leaf's body as it was sent, without transfer decoding: armour is 7 bit."""
    payload = part.get_payload()
    return payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else b""
