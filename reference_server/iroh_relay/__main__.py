"""`python -m reference_server.iroh_relay`: the relay alone, with the command line of iroh-relay where it has one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..options import read_options
from ..service import parser_of, run
from .service import RelayService
from .settings import RelaySettings

PARSER = parser_of(
    "iroh_relay",
    RelaySettings,
    "A test server: an iroh relay for nodes from 0.35 to 1.x. Not for production.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; returns the exit code."""
    options = PARSER.parse_args(argv)
    return run("iroh-relay", lambda: read_options(RelaySettings, options), RelayService)


if __name__ == "__main__":
    sys.exit(main())
