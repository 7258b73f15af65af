"""The one wrong service of a mutant, as the supervisor starts it: `python -m mutants.service NAME ...`."""

from __future__ import annotations

import sys

from .registry import MUTANTS

if __name__ == "__main__":
    sys.exit(MUTANTS[sys.argv[1]].run(sys.argv[2:]))
