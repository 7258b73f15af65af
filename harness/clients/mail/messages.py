"""Mails as a Delta Chat client puts them on the wire, without a client: for checks that need a mail only.

The encrypted ones have the structure that chatmail servers insist on (RFC 3156, RFC 9580): a session-key
packet and one integrity-protected data packet. What is inside is random: a server cannot see more, and
nobody reads it.
"""

from __future__ import annotations

import base64
import email.message
import email.policy
import email.utils
import os

__all__ = ["encrypted_message", "message_id", "plain_message", "pretended_messages"]

PKESK = 1
SEIPD = 18
LITERAL_DATA = 11


def encrypted_message(sender: str, recipient: str, *, marker: str, size: int = 256) -> bytes:
    """A PGP/MIME mail of about `size` bytes of ciphertext; `marker` becomes its Message-ID's local part."""
    packets = _packet(PKESK, b"\x03" + os.urandom(93)) + _packet(SEIPD, b"\x01" + os.urandom(size))
    return _pgp_mime(sender, recipient, marker, _armour(packets))


def pretended_messages(sender: str, recipient: str) -> dict[str, bytes]:
    """Readable mails that look encrypted at first sight; the key says in which way they pretend."""
    text = b"everybody can read this"
    literal_data = _packet(LITERAL_DATA, b"b\x00\x00\x00\x00\x00" + text)
    session_key = _packet(PKESK, b"\x03" + os.urandom(93))
    bodies = {
        "encrypted-type-with-text": text.decode() + "\r\n",
        "armour-around-text": _armour(text),
        "armour-around-literal-data": _armour(literal_data),
        "session-key-before-literal-data": _armour(session_key + literal_data),
    }
    return {kind: _pgp_mime(sender, recipient, kind, body) for kind, body in bodies.items()}


def plain_message(sender: str, recipient: str, *, marker: str, text: str) -> bytes:
    """A mail that everybody on the way can read."""
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["From"] = f"<{sender}>"
    message["To"] = f"<{recipient}>"
    message["Date"] = email.utils.formatdate()
    message["Message-ID"] = message_id(marker, sender)
    message["MIME-Version"] = "1.0"
    message["Subject"] = "plain"
    message.set_content(text)
    return message.as_bytes(policy=email.policy.SMTP)


def message_id(marker: str, sender: str) -> str:
    """The Message-ID of the mail with this marker."""
    return f"<{marker}@{sender.partition('@')[2].strip('[]')}>"


def _pgp_mime(sender: str, recipient: str, marker: str, encrypted: str) -> bytes:
    """A multipart/encrypted mail (RFC 3156, section 4) whose second part is `encrypted` as it is.

    Written line by line: a load makes so many that the standard library's generator was a third of what a client costs.
    """
    boundary = os.urandom(16).hex()
    head = (
        f"From: <{sender}>",
        f"To: <{recipient}>",
        f"Date: {email.utils.formatdate()}",
        f"Message-ID: {message_id(marker, sender)}",
        "MIME-Version: 1.0",
        "Subject: [...]",
        "Chat-Version: 1.0",
        f'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted";\r\n boundary="{boundary}"',
    )
    parts = (
        f"--{boundary}",
        "Content-Type: application/pgp-encrypted",
        "",
        "Version: 1",
        "",
        f"--{boundary}",
        'Content-Type: application/octet-stream; name="encrypted.asc"',
        "",
        encrypted,
        f"--{boundary}--",
        "",
    )
    return "\r\n".join((*head, "", *parts)).encode()


def _packet(tag: int, body: bytes) -> bytes:
    """One OpenPGP packet in the current format with a five-octet length (RFC 9580, section 4.2.1)."""
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def _armour(packets: bytes) -> str:
    text = base64.encodebytes(packets).decode().replace("\n", "\r\n")
    return f"-----BEGIN PGP MESSAGE-----\r\n\r\n{text}-----END PGP MESSAGE-----\r\n"
