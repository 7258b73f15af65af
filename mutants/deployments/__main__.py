"""`python -m mutants.deployments FAULT:LAYOUT ...`: deployments that are wrong on purpose, and what is seen of each.

The answer is a line of JSON for each, as it comes. `--list-json` tells programs all faults, and what each declares.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict

from harness.scratch import scratch_directory

from .declaration import Fault, all_faults, green_on

__all__ = ["main"]


def main(argv: Sequence[str]) -> int:
    """Exit codes: 0, and 2 for what there is not."""
    parser = argparse.ArgumentParser(prog="python -m mutants.deployments", description=__doc__)
    parser.add_argument("deployments", nargs="*", type=_deployment, metavar="FAULT:LAYOUT")
    parser.add_argument("--list-json", action="store_true", help="name all, with what each declares")
    arguments = parser.parse_args(argv)
    if arguments.list_json:
        _say([_declared(fault) for fault in all_faults().values()])
        return 0
    if not arguments.deployments:
        parser.error("name a fault and a layout, as in relay_ports_closed:coturn")
    from .run import look_at  # noqa: PLC0415 - it loads everything, and a list needs none of it

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is deployed is given up
    for fault, layout in arguments.deployments:
        with scratch_directory("deployment") as directory:
            _say(asdict(look_at(fault, layout, directory)))
    return 0


def _deployment(text: str) -> tuple[Fault, str]:
    name, _, layout = text.partition(":")
    fault = all_faults().get(name)
    if fault is None:
        raise argparse.ArgumentTypeError(f"there is no fault {name!r}; --list-json has all")
    if layout not in fault.on:
        raise argparse.ArgumentTypeError(f"{name} exists on {', '.join(fault.on)}")
    return fault, layout


def _declared(fault: Fault) -> dict[str, object]:
    return {
        "name": fault.name,
        "wrong": fault.wrong,
        "causes": fault.causes,
        "red": dict(fault.red),
        "green": {layout: green_on(fault, layout) for layout in fault.on},
        "on": fault.on,
    }


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
