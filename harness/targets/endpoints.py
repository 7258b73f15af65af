"""A target described by its ready line (docs/control-protocol.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..clients.control import ControlClient
from .target import Target

__all__ = ["describe", "read_endpoints"]


def describe(
    endpoints: Mapping[str, Any], name: str, capabilities: frozenset[str], control: ControlClient | None
) -> Target:
    """The target behind `endpoints`. Raises KeyError, TypeError or ValueError for what is missing or no port."""
    ca_file = endpoints.get("ca_file")
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
        capabilities=capabilities,
        control=control,
    )


def read_endpoints(file: Path) -> Mapping[str, Any]:
    """The `endpoints` of a ready line in a file. Raises ValueError that names the file, and OSError."""
    try:
        ready = json.loads(file.read_text())
        endpoints = ready["endpoints"]
        if isinstance(endpoints, dict):
            return endpoints
    except (ValueError, KeyError, TypeError):
        pass  # said below, together with the other way to be wrong
    raise ValueError(f"{file} has no ready line of a server (docs/control-protocol.md)")
