"""Causes that an exception shows by itself: a connection that was refused, a certificate that is not right."""

from __future__ import annotations

import ssl

from ..clients.mail.imap import ImapError
from ..clients.mail.smtp import SmtpError
from ..clients.mail.web import WebError
from ..clients.relay.client import RelayError
from ..clients.turn.client import TurnClosed, TurnError

__all__ = ["cause_of"]

SERVICES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((ImapError, SmtpError, WebError), "mail"),
    ((RelayError,), "relay"),
)
OF_TURN = {"port_closed": "turn.not_answering"}
OF_TURN_OVER_TLS = {
    "port_closed": "turn.turns_without_tls",
    "certificate_expired": "turn.turns_certificate",
    "certificate_wrong_name": "turn.turns_certificate",
    "certificate_untrusted": "turn.turns_certificate",
}
EXPIRED, WRONG_NAME = 10, (62, 64)
"""Numbers of OpenSSL (X509_V_ERR_...)."""


def cause_of(error: BaseException) -> str:
    """Name of the cause; empty where the exception alone does not say it."""
    fault = _fault(error.__cause__)
    if isinstance(error, TurnError):
        if not error.over_tls:
            return OF_TURN.get(fault, "")
        connected = not isinstance(error, TurnClosed)  # then it was TLS that did not come about
        return OF_TURN_OVER_TLS.get(fault, "turn.turns_without_tls" if connected else "")
    service = next((name for kinds, name in SERVICES if isinstance(error, kinds)), "")
    return f"{service}.{fault}" if service and fault else ""


def _fault(below: BaseException | None) -> str:
    if isinstance(below, ConnectionRefusedError):
        return "port_closed"
    if isinstance(below, ssl.SSLCertVerificationError):
        if below.verify_code in WRONG_NAME:
            return "certificate_wrong_name"
        return "certificate_expired" if below.verify_code == EXPIRED else "certificate_untrusted"
    return ""
