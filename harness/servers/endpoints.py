"""A target described by its ready line (docs/control-protocol.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from ..target import Target
from ..urls import RelayUrl, TurnUrl

__all__ = ["describe", "endpoints_of", "read_endpoints"]

Transport = Literal["udp", "tcp", "tls"]


def describe(endpoints: Mapping[str, Any], name: str, capabilities: frozenset[str]) -> Target:
    """The target behind `endpoints`.

    Raises KeyError, TypeError, ValueError or OverflowError for what is missing or no port. The listeners of TURN add
    the capabilities `turn`, and `turns` with one for TLS.
    """
    ca_file = endpoints.get("ca_file")
    turn = tuple(_turn_url(text) for text in endpoints.get("turn", ()))
    lifetimes = dict(endpoints.get("turn_lifetimes", {}))
    offers_turn = {each.scheme for each in turn} | ({"turn"} if turn else set())
    return Target(
        name=name,
        host=str(endpoints["host"]),
        domain=str(endpoints["domain"]),
        imaps=int(endpoints["imaps"]),
        imap=int(endpoints["imap"]),
        submissions=int(endpoints["submissions"]),
        submission=int(endpoints["submission"]),
        https=int(endpoints["https"]),
        ca_file=Path(ca_file) if ca_file else None,
        dialect=str(endpoints["dialect"]),
        capabilities=capabilities | offers_turn,
        smtp=int(endpoints["smtp"]) if "smtp" in endpoints else None,
        turn=turn,
        iroh_relay=RelayUrl.parse(str(relay)) if (relay := endpoints.get("iroh_relay")) else None,
        turn_permission_lifetime=float(lifetimes.get("permission", Target.turn_permission_lifetime)),
        turn_channel_lifetime=float(lifetimes.get("channel", Target.turn_channel_lifetime)),
    )


def endpoints_of(target: Target) -> dict[str, Any]:
    """As much of a ready line as a client of a target needs: who reads METADATA needs no addresses of TURN or iroh."""
    ports = ("imaps", "imap", "submissions", "submission", "https")
    return {
        **{name: getattr(target, name) for name in ("host", "domain", "dialect", *ports)},
        **({} if target.smtp is None else {"smtp": target.smtp}),
        "ca_file": None if target.ca_file is None else str(target.ca_file),
    }


def _turn_url(text: str) -> TurnUrl:
    """From the ready line's form of a listener, `udp://ADDRESS:PORT`."""
    url = urlsplit(str(text))
    transports: dict[str, Transport] = {each: each for each in get_args(Transport)}
    if url.scheme not in transports or not url.hostname or not url.port:
        raise ValueError(f"turn: {text}")
    return TurnUrl(transports[url.scheme], url.hostname, url.port, "turns" if url.scheme == "tls" else "turn")


def read_endpoints(file: Path) -> Mapping[str, Any]:
    """The `endpoints` of a ready line in a file. Raises ValueError that names the file, and OSError."""
    try:
        ready = json.loads(file.read_text())
        endpoints = ready["endpoints"]
        if isinstance(endpoints, dict):
            return endpoints
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # said below, together with the other way to be wrong
    raise ValueError(f"{file} has no ready line of a server (docs/control-protocol.md)")
