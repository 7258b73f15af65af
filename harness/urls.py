"""Addresses of services as METADATA and clients write them: TURN URLs (RFC 7065) and URLs of iroh relays."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

__all__ = ["RelayUrl", "TurnUrl", "UrlError"]

TURN_URL = re.compile(
    r"(?P<scheme>turns?|stun):(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]?/]+)"
    r"(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?"
)


WHITE_SPACE = re.compile(r"[\t\r\n]+")
SCHEME = re.compile(r"(https?):[/\\]*", re.IGNORECASE)
NO_HOST = re.compile(r"[\s<>^|%\\\x00-\x1f\x7f]")
"""Characters that no host has."""


class UrlError(ValueError):
    """A text is no such URL; the message says what it must be."""


@dataclass(frozen=True)
class TurnUrl:
    """A server as a `turn:`, `turns:` or `stun:` URL names it (RFC 7064, RFC 7065). `transport`: udp, tcp or tls."""

    transport: Literal["udp", "tcp", "tls"]
    host: str
    port: int
    scheme: str = "turn"

    @classmethod
    def parse(cls, text: str) -> TurnUrl:
        """Raises `UrlError` for any other URL, and for DTLS (`turns:` over UDP)."""
        match = TURN_URL.fullmatch(text)
        if match is None or not 0 < int(match["port"] or 3478) < 1 << 16:
            raise UrlError(
                f"{text!r} is no TURN URL: it must be turn:HOST[:PORT] or turns:HOST[:PORT], "
                "with ?transport=udp or ?transport=tcp if need be"
            )
        secure = match["scheme"] == "turns"
        wanted = match["transport"] or ("tcp" if secure else "udp")
        if secure and wanted == "udp":
            raise UrlError(f"{text!r} means TURN over DTLS, which no client here speaks")
        transport: Literal["udp", "tcp", "tls"] = "tls" if secure else "tcp" if wanted == "tcp" else "udp"
        port = int(match["port"] or (5349 if secure else 3478))
        return cls(transport, match["host"].strip("[]"), port, match["scheme"])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = "?transport=tcp" if self.transport == "tcp" else ""
        return f"{self.scheme}:{host}:{self.port}{query}"


@dataclass(frozen=True)
class RelayUrl:
    """Endpoint at which an iroh relay listens, from a URL as METADATA gives it."""

    secure: bool
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> RelayUrl:
        """As core's own parser (https://url.spec.whatwg.org): white space around it does not count, and slashes may be
        backslashes, or fewer than two; nor does the dot at the end of a name count.

        Raises `UrlError` for anything but an http or https URL with a host.
        """
        written = SCHEME.sub(r"\1://", WHITE_SPACE.sub("", text.strip()), count=1)
        try:
            url = urlsplit(written)
            host, port = url.hostname, url.port
        except ValueError:
            raise UrlError(f"{text!r} is no URL: its host or its port cannot be read") from None
        if port == 0:
            raise UrlError(f"{text!r} names port 0, which is none")
        if url.scheme not in ("http", "https") or not host or NO_HOST.search(host):
            raise UrlError(
                f"{text!r} is no relay URL: it must be http://HOST[:PORT]/ or https://HOST[:PORT]/"
            )
        secure = url.scheme == "https"
        return cls(secure, host.rstrip("."), port or (443 if secure else 80))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}/"
