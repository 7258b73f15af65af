"""The services of a server by name, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .service import Service

__all__ = ["Program", "standard_program"]

Program = Callable[[Any], Service]
"""Makes a service of its settings. `mutants` puts others in place."""


def standard_program(service: str) -> Program:
    """The right one. What a server does not start is not loaded."""
    match service:
        case "mail":
            from .mail.service import MailService  # noqa: PLC0415

            return MailService
        case "iroh_relay":
            from .iroh_relay.service import RelayService  # noqa: PLC0415

            return RelayService
        case "turn":
            from .turn.service import TurnService  # noqa: PLC0415

            return TurnService
    raise LookupError(service)
