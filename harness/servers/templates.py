"""Texts with `{{ name }}` in places where a value belongs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["MissingValue", "names_in", "render"]

PLACE = re.compile(r"\{\{ *([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*) *\}\}")
"""Anything else between double braces stays as it is: files of servers may have templates of their own."""


class MissingValue(ValueError):
    """A template names a value that is not there."""


def names_in(template: str) -> Iterator[str]:
    """The values that a template needs."""
    return (match[1] for match in PLACE.finditer(template))


def render(template: str, values: Mapping[str, str]) -> str:
    """The text with all values in their places. Raises `MissingValue`."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise MissingValue(f"{{{{{match[1]}}}}} has no value here")
        return values[match[1]]

    return PLACE.sub(value, template)
