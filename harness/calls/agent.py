"""Call agents: aiortc peers, each in a process of its own on a host (see `agent_program`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..hosts import Host, LocalHost, MissingCapability
from ..preloaded import preloaded
from .peers import PeerError
from .process import PeerProcess

__all__ = ["PROGRAM", "Agent", "calls_are_possible", "require_agents"]

PROGRAM = "harness.calls.agent_program"
"""Loading aiortc takes longer than most calls: agents are forked from a process that has done it."""


class Agent(PeerProcess):
    """A peer that is aiortc; `with Agent(...) as agent:` ends it whatever happens."""

    def __init__(
        self,
        logs: Path,
        name: str,
        *,
        host: Host | None = None,
        ca_file: Path | None = None,
        within: float = 30.0,
    ) -> None:
        """`ca_file`: verifies TURN servers over TLS. Raises `PeerError` where aiortc is not installed."""
        if not calls_are_possible():
            raise PeerError("calls need aiortc: pip install 'dc-harness[calls]'")
        super().__init__(
            preloaded(PROGRAM, loads=(PROGRAM,)),
            logs / f"{name}.agent.log",
            name,
            host=host or LocalHost(),
            environment={} if ca_file is None else {"SSL_CERT_FILE": str(ca_file)},
            within=within,
        )


def calls_are_possible() -> bool:
    """True if this machine has the capability `calls`: the optional package aiortc."""
    return importlib.util.find_spec("aiortc") is not None


def require_agents() -> None:
    """Raise `MissingCapability`, with the command that heals it, where no agent can run."""
    if not calls_are_possible():
        raise MissingCapability(
            "calls", "aiortc is not installed", heal="pip install 'dc-harness[calls]', in a checkout ./setup"
        )
