"""The page of all causes: `python -m harness.causes.page` prints what docs/causes.md has to be."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from .catalogue import CATALOGUE
from .cause import Cause, Weight

__all__ = ["render"]

HEAD = """\
# Causes

What can be wrong with a deployment, by the names that `dc-harness doctor`, records and reports use. A name never
changes its meaning. *Risk*: nobody notices it until somebody makes use of it. *Note*: worth knowing, the server works
without. Everything else makes `doctor` say SICK, and end with exit code 1.

This page is made of `harness/causes/`: `python -m harness.causes.page`. What was measured at one server stands in the
output of `doctor`, behind "Why sure".
"""
SECTIONS = {
    "name": "The server's name",
    "mail": "Mail",
    "metadata": "METADATA",
    "turn": "TURN",
    "relay": "The iroh relay",
}


def render() -> str:
    """The whole page, in Markdown."""
    lines = [HEAD]
    for prefix, title in SECTIONS.items():
        lines.append(f"## {title}\n")
        for cause in CATALOGUE.values():
            if cause.name.partition(".")[0] == prefix:
                lines += _entry(cause)
    return "\n".join(lines).rstrip() + "\n"


def _entry(cause: Cause) -> Iterator[str]:
    note = "" if cause.weight is Weight.SICK else f" *{cause.weight.value.title()}.*"
    yield f"### {cause.name}\n"
    yield f"{cause.sentence}{note}\n"
    yield f"- **Why sure:** {cause.sure}"
    yield f"- **Harm:** {cause.harm}"
    for place, change in cause.change.items():
        yield f"- **Change, {place}:** {change}"
    if cause.explains:
        yield f"- **Explains:** {', '.join(f'`{each}`' for each in cause.explains)}"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(render())
