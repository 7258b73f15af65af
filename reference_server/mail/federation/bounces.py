"""Reports to senders whose mail nobody will get (RFC 3464), as Delta Chat reads them. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate

from ..mime import MAX_HEADER

__all__ = ["delivery_report"]


def delivery_report(
    own_domain: str, sender: str, failures: Mapping[str, str], content: bytes, *, now: float, identity: str
) -> bytes:
    """A mail of the server itself. `failures`: reasons by recipient; `identity`: unlike that of any other report."""
    boundary = f"report-{identity}"
    told = "".join(f"<{each}>: {_one_line(reason)}\r\n" for each, reason in failures.items())
    status = "".join(map(_status, failures.items()))
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER)
    header = content[: end + 2] if end >= 0 else b""
    text = (
        f"From: <mailer-daemon@{own_domain}>\r\n"
        f"To: <{sender}>\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\n"
        f"Date: {formatdate(now, usegmt=True)}\r\n"
        f"Message-ID: <{identity}@{own_domain.strip('[]')}>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"\r\n'
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "\r\n"
        "Your mail could not be delivered to these addresses:\r\n"
        "\r\n"
        f"{told}"
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: message/delivery-status\r\n"
        "\r\n"
        f"Reporting-MTA: dns; {own_domain}\r\n"
        f"{status}"
        "\r\n"
        f"--{boundary}\r\n"
        "Content-Type: text/rfc822-headers\r\n"
        "\r\n"
    )
    return text.encode() + header + f"\r\n--{boundary}--\r\n".encode()


def _status(failure: tuple[str, str]) -> str:
    recipient, reason = failure
    return (
        "\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\n"
        f"Original-Recipient: rfc822; {recipient}\r\n"
        "Action: failed\r\n"
        "Status: 5.0.0\r\n"
        f"Diagnostic-Code: smtp; {_one_line(reason)}\r\n"
    )


def _one_line(text: str) -> str:
    """Words of others, without anything that could begin another line or part."""
    return "".join(each if each.isprintable() else " " for each in text)[:500]
