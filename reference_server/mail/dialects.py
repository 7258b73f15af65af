"""Points on which right servers disagree: a row of a table for each dialect, and no question about it elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .settings import Dialect, DkimRule, OutgoingTls

__all__ = ["DIALECTS", "Habits", "literal", "quoted"]

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)


def quoted(text: str | bytes) -> bytes:
    """A quoted string (RFC 3501 section 4.3). The caller knows that there is no line end in it."""
    raw = text.encode() if isinstance(text, str) else text
    return b'"' + raw.replace(b"\\", rb"\\").replace(b'"', rb"\"") + b'"'


def literal(text: str | bytes) -> bytes:
    """A literal (RFC 3501 section 4.3), which can carry everything but NUL."""
    raw = text.encode() if isinstance(text, str) else text
    return b"{%d}\r\n%b" % (len(raw), raw)


@dataclass(frozen=True)
class Habits:
    capabilities_before_login: tuple[str, ...]
    """Those of chatmail's own that are told to everybody; after login all of them are."""
    metadata_value: Callable[[str], bytes]
    own_metadata: frozenset[str]
    """Names below /shared/vendor/deltachat that not every dialect has."""
    unset_metadata_is_nil: bool
    """An unset comment and admin are answered with NIL instead of left out."""
    completed: Mapping[str, str]
    """Texts behind OK that clients look for, by command; all others say the command's name in upper case."""
    encryption_needed: str
    """The text behind code 523."""
    local_part: tuple[int, int]
    """Fewest and most characters in the local part of a new account."""
    password_min: int
    dkim: DkimRule
    """What becomes of mail of other servers without a signature."""
    outgoing_tls: OutgoingTls
    """With other servers, but for those whose names nobody vouches for."""
    incoming_tls_is_required: bool
    """Other servers must begin TLS before they send."""
    has_mxdeliv: bool
    """Other servers may bring mail by `POST /mxdeliv`."""
    bare_ip_is_literal: bool
    """`user@192.0.2.1` is the same address as `user@[192.0.2.1]`."""

    def canonical(self, address: str) -> str:
        """The one spelling by which an address is known here."""
        local_part, at, domain = address.lower().rpartition("@")
        if self.bare_ip_is_literal and _IPV4.fullmatch(domain):
            return f"{local_part}@[{domain}]"
        return local_part + at + domain


DIALECTS: Mapping[Dialect, Habits] = {
    # chatmail/relay: Dovecot writes literals; its tests want both words before login.
    Dialect.CHATMAIL: Habits(
        capabilities_before_login=("XCHATMAIL", "XDELTAPUSH"),
        metadata_value=literal,
        own_metadata=frozenset({"maxsmtprecipients", "appversions"}),
        unset_metadata_is_nil=False,
        completed={"GETMETADATA": "Getmetadata completed", "SETMETADATA": "Setmetadata completed"},
        encryption_needed="Encryption Needed: Invalid Unencrypted Mail",
        local_part=(9, 9),
        password_min=9,
        dkim=DkimRule.REQUIRED,
        outgoing_tls=OutgoingTls.VERIFY,
        incoming_tls_is_required=True,
        has_mxdeliv=False,
        bare_ip_is_literal=False,
    ),
    # madmail: its test 15 drops literals, so values are quoted; its tests want the words only after login.
    Dialect.MADMAIL: Habits(
        capabilities_before_login=(),
        metadata_value=quoted,
        own_metadata=frozenset({"turn-test-relay-only"}),
        unset_metadata_is_nil=True,
        completed={},
        encryption_needed="5.7.1 Encryption Needed",
        local_part=(8, 20),
        password_min=8,
        dkim=DkimRule.IGNORED,
        outgoing_tls=OutgoingTls.MAY,
        incoming_tls_is_required=False,
        has_mxdeliv=True,
        bare_ip_is_literal=True,
    ),
}
