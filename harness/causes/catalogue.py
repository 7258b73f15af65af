"""Every cause by its name: doctor, checks and reports say what to do out of this one place."""

from __future__ import annotations

from collections.abc import Mapping

from . import mail, names, relay, turn
from .cause import Cause

__all__ = ["CATALOGUE"]

CATALOGUE: Mapping[str, Cause] = {
    each.name: each for each in (*names.CAUSES, *mail.CAUSES, *turn.CAUSES, *relay.CAUSES)
}
