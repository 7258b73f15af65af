"""Errors and warnings about a configuration file, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..errors import ConfigurationError

__all__ = ["Finding", "Place", "Severity", "error", "raise_errors", "warning"]


LONGEST = 600
"""Characters of a sentence, with what it has of the file."""


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
    """Its text is `file:line: error|warning: sentence`, one line that a terminal can show.

    A sentence never contains a secret; what it has of the file may be long, and may be no text.
    """

    place: Place
    severity: Severity
    sentence: str

    def __str__(self) -> str:
        half = LONGEST // 2
        sentence = self.sentence
        if len(sentence) > LONGEST:
            sentence = f"{sentence[:half]} ... {sentence[-half:]}"
        shown = "".join(each if each.isprintable() else "\ufffd" for each in sentence)
        return f"{self.place}: {self.severity}: {shown}"


def error(place: Place, sentence: str) -> Finding:
    return Finding(place, Severity.ERROR, sentence)


def warning(place: Place, sentence: str) -> Finding:
    return Finding(place, Severity.WARNING, sentence)


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise `ConfigurationError` with a line for each error, if there is one."""
    errors = [str(finding) for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError("\n".join(errors))
