"""Calls between devices in a lab: who is there, and which way a call took, by witnesses that are not its agents."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..calls.agent import IceServer, NoRelayCandidate
from ..calls.call import Call, Media, Party, Talked, parties, place
from ..calls.servers import IceServerError, TurnOffer, ice_servers
from ..clients.core import SendFailed
from ..device import Device
from ..evidence import egress, paths
from ..evidence.edges import Edges
from ..evidence.egress import Egress, Toward
from ..evidence.flows import EdgeCounts
from ..evidence.parties import Device as Place
from ..evidence.parties import Parties, Service
from ..lab_session import ON_443, LabFactory, LabSession
from ..network.lab import LabHost
from ..network.probe import self_test
from ..network.profiles import Profile
from .call_steps import CALL_WITHIN, talk, turn_ledger_of
from .discovery import offered, offered_turn
from .outcome import Outcome

__all__ = ["NO_CALL", "Callers", "Seen", "callers", "watched_call"]

progress = logging.getLogger("harness.progress")

NO_CALL = "no call"
PHASE = "media"
TURN = "turn"
SETTLE_WITHIN = 10.0
"""Seconds for packets to end once both sides have hung up."""


@dataclass(frozen=True)
class Callers:
    """A lab with devices that are online, and what their cores would use for a call."""

    session: LabSession
    devices: Mapping[str, Device]
    servers: Mapping[str, tuple[IceServer, ...]]

    def host(self, name: str) -> LabHost:
        return self.session.places[name]


@dataclass(frozen=True)
class Seen:
    """What became of one call that was tried."""

    path: paths.Path
    egress: Egress
    refused: str = ""
    """Why there was no call: an agent's words."""
    talked: Talked | None = None
    """None: there was no call."""
