"""`python -m reference_server check-config FILE...`: what is wrong with configuration files, one line each."""

from __future__ import annotations

import argparse
import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigurationError
from .files import TooManyFiles, load
from .findings import Severity

__all__ = ["main"]

CLEAN, FINDINGS, UNREADABLE = 0, 1, 2


def main(argv: Sequence[str]) -> int:
    """0: nothing, or warnings only; 1: errors; 2: usage, or a file that cannot be opened."""
    arguments = _parser().parse_args(argv)
    try:
        findings = load(arguments.files, public_ip=arguments.host).findings()
    except TooManyFiles as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename} cannot be read: {error.strerror}")
    except ConfigurationError as error:
        _say(str(error))
        return FINDINGS
    for finding in findings:
        _say(str(finding))
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    _say(f"errors: {errors}, warnings: {len(findings) - errors}")
    return FINDINGS if errors else CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reference_server check-config",
        description="Lists what is wrong or inconsistent in a maddy.conf and an iroh-relay.toml.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="*.toml is the relay's")
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        type=_address,
        help="what $(public_ip) stands for (default: as the file says)",
    )
    return parser


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address") from None


def _complain(sentence: str) -> int:
    sys.stderr.write(f"check-config: {sentence}\n")
    return UNREADABLE


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
