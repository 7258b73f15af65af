"""Errors of the system and of TLS in words for people: no numbers of Python's, no names of classes."""

from __future__ import annotations

import smtplib
import ssl

__all__ = ["plain"]


def plain(error: BaseException) -> str:
    """Describe an error as an operator would."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'for no stated reason').replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return "nothing answered in time"
    if isinstance(error, smtplib.SMTPResponseException):
        said = _decoded(error.smtp_error)
        # smtplib has no number for what is no reply, and cut off what stood in its place.
        no_reply = f"an answer that is no SMTP, which ends with `{said}`"
        return f"{error.smtp_code} {said}" if error.smtp_code > 0 else no_reply
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return "; ".join(_decoded(each) for each in error.args) or type(error).__name__


def _decoded(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
