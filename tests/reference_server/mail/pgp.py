"""Messages for tests: PGP/MIME in shape, with nothing secret in it."""

from __future__ import annotations

import base64

PKESK = bytes([0xC1, 3]) + b"key"


def packet(kind: int, body: bytes) -> bytes:
    """New format, with a five-octet length where needed (RFC 9580 section 4.2.1)."""
    size = bytes([len(body)]) if len(body) < 192 else b"\xff" + len(body).to_bytes(4, "big")
    return bytes([0xC0 | kind]) + size + body


def partial_packet(kind: int, body: bytes) -> bytes:
    """Half a kilobyte first, the rest after it."""
    return bytes([0xC0 | kind, 0xE0 | 9]) + body[:512] + bytes([len(body) - 512]) + body[512:]


def encrypted_packets(size: int = 100) -> bytes:
    return PKESK + packet(18, b"\x01" * size)


def armor(packets: bytes, *, headers: str = "", checksum: str = "=AAAA\r\n") -> str:
    text = base64.b64encode(packets).decode()
    lines = "".join(text[i : i + 64] + "\r\n" for i in range(0, len(text), 64))
    return f"-----BEGIN PGP MESSAGE-----\r\n{headers}\r\n{lines}{checksum}-----END PGP MESSAGE-----\r\n"


def encrypted_message(
    sender: str,
    *,
    subject: str = "[...]",
    marker: str = "message",
    armored: str | None = None,
    version: str = "Version: 1",
) -> bytes:
    """`marker` is in the Message-ID, which no server changes."""
    armored = armor(encrypted_packets()) if armored is None else armored
    return (
        f"From: <{sender}>\r\n"
        f"Subject: {subject}\r\n"
        f"Message-ID: <{marker}@chatmail.test>\r\n"
        "MIME-Version: 1.0\r\n"
        'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary="b"\r\n'
        "\r\n"
        f"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\n{version}\r\n\r\n"
        f"--b\r\nContent-Type: application/octet-stream\r\n\r\n{armored}\r\n--b--\r\n"
    ).encode()
