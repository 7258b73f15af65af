"""The page of all promises: `python -m harness.report.promises_page` prints what docs/promises.md has to be."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from .promises import PROMISES

__all__ = ["render"]

HEAD = """\
# Promises

All that a server is checked for, by the IDs that records and reports use. An ID never changes its meaning. Most come
from two documents of madmail. *Expected*: no document says it, and users rely on it all the same. A promise holds if
every check that proves it passed; `dc-harness list` names the checks with their promises.

This page is made of `harness/report/promises.py`: `python -m harness.report.promises_page`.
"""
SECTIONS = {
    "DISC": "Discovery: what the mail server tells",
    "MAIL": "Mail",
    "FED": "Mail between servers",
    "TURN": "TURN: calls",
    "IROH": "The iroh relay: realtime apps",
    "E2E": "From end to end",
}


def render() -> str:
    """The whole page, in Markdown."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    for prefix, title in SECTIONS.items():
        yield f"## {title}\n"
        for name, promise in PROMISES.items():
            if name.partition("-")[0] == prefix:
                yield f"### {name}\n"
                yield f"**{promise.sentence}**{' *Expected.*' if promise.ours else ''} {promise.meaning}\n"


if __name__ == "__main__":
    sys.stdout.write(render())
