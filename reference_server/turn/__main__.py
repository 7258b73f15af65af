"""`python -m reference_server.turn`: the TURN server as a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from reference_server.options import read_options
from reference_server.service import parser_of, run

from .service import TurnService
from .settings import TurnSettings

PARSER = parser_of("turn", TurnSettings, "A TURN server for tests. Not for production.")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; returns the exit code."""
    options = PARSER.parse_args(argv)
    return run("turn", lambda: read_options(TurnSettings, options), TurnService)


if __name__ == "__main__":
    sys.exit(main())
