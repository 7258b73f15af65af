"""Errors and warnings about a configuration file, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..errors import ConfigurationError

__all__ = ["Finding", "Place", "Severity", "error", "raise_errors", "warning"]


class Severity(StrEnum):
    ERROR = "error"
    """The server cannot do what the file says; it does not start."""
    WARNING = "warning"
    """The server starts without it."""


@dataclass(frozen=True, order=True)
class Place:
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Finding:
    """Its text is `file:line: error|warning: sentence`. A sentence never contains a secret."""

    place: Place
    severity: Severity
    sentence: str

    def __str__(self) -> str:
        return f"{self.place}: {self.severity}: {self.sentence}"


def error(place: Place, sentence: str) -> Finding:
    return Finding(place, Severity.ERROR, sentence)


def warning(place: Place, sentence: str) -> Finding:
    return Finding(place, Severity.WARNING, sentence)


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise `ConfigurationError` with a line for each error, if there is one."""
    errors = [str(finding) for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError("\n".join(errors))
