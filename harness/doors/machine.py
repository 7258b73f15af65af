"""One line on what this machine can prove, and what it cannot with the command that heals it: the end of `./setup`."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ..calls.agent import calls_are_possible
from ..calls.kinds import CHROMIUM
from ..hosts import MissingCapability
from ..network.preflight import Missing, preflight

__all__ = ["line", "main"]


def main() -> int:
    can, cannot = preflight().proofs()
    if calls_are_possible():
        can.append("calls")
    else:
        cannot["calls"] = Missing("aiortc is not installed", "uv sync --locked")
    try:
        CHROMIUM.require()
        can.append("calls by Delta Chat's own UI")
    except MissingCapability as missing:
        cannot["calls by Delta Chat's own UI"] = Missing(missing.reason, missing.heal)
    sys.stdout.write(f"{line(can, cannot)}\n")
    return 0


def line(can: list[str], cannot: Mapping[str, Missing]) -> str:
    """Sentence about this machine's capabilities; those that it lacks for the same reason stand together."""
    alike: dict[Missing, list[str]] = {}
    for proof, why in cannot.items():
        alike.setdefault(why, []).append(proof)
    without = "; ".join(f"{', '.join(proofs)} ({why})" for why, proofs in alike.items())
    proven = ", ".join(can) or "nothing in a lab"
    return f"This machine can prove: {proven}. " + (
        f"It cannot prove: {without}" if without else "All is there."
    )


if __name__ == "__main__":
    sys.exit(main())
