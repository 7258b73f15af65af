#!/usr/bin/env python3
"""Drop-in for madmail's `tests/deltachat-test/main.py`. This folder works wherever it is copied to."""

import sys

try:
    from harness.doors.madmail_suite.main import main
except ModuleNotFoundError as error:
    sys.stderr.write(
        f"The package dc-harness is not installed for {sys.executable} (no module {error.name}).\n"
        f"Install it from a checkout of the project:\n\n"
        f"    {sys.executable} -m pip install PATH_OF_THE_CHECKOUT\n\n"
        f"If this Python refuses (externally managed), make an environment first and use its python:\n\n"
        f"    python3 -m venv venv && venv/bin/pip install PATH_OF_THE_CHECKOUT && venv/bin/python {__file__}\n"
    )
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
