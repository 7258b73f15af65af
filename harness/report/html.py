"""The report of a run as one HTML file that needs nothing else: no script, no request to a network.

Its look is `templates/`, its content the same as that of Markdown. Text of anybody is cleaned and escaped where it
enters a template, whatever the template does with it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..text import clean
from .compare import Comparison
from .findings import findings
from .illustrations import illustrations
from .plan import checks
from .records import Record
from .sections import every_section
from .standing import standings
from .style import TEMPLATES, style_sheet
from .summary import summary
from .tables import Grid, Section

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Files", "environment", "policy", "render_html"]


@dataclass(frozen=True)
class Files:
    """Files of runs, as a page finds them."""

    base: Mapping[str, str] = field(default_factory=dict)
    """Run -> its directory, as a relative URL that ends with a slash; that of the page itself if it is not named."""
    missing: frozenset[tuple[str, str]] = frozenset()
    """Run and path of files that records name and that are not there."""

    def href(self, run: str, path: str) -> str:
        """A link that stays below the run's directory, whatever a record calls its file."""
        steps = [each for each in path.split("/") if each not in ("", ".", "..")]
        return f"./{self.base.get(run, '')}{quote('/'.join(steps))}"

    def is_missing(self, run: str, path: str) -> bool:
        return (run, path) in self.missing


def render_html(
    name: str,
    records: Sequence[Record],
    problems: Sequence[str] = (),
    files: Files | None = None,
    *,
    since: Comparison | None = None,
    further: Sequence[Section] = (),
) -> str:
    """One page. `problems`: sentences on records that could not be read; `since`: differences to an earlier run;
    `further`: tables that are not made of its records."""
    return (
        environment()
        .get_template("report.html")
        .render(
            name=name,
            summary=summary(records),
            problems=problems,
            since=since.sentences if since else (),
            findings=findings(records),
            standings=standings(records),
            records=records,
            checks=_with_anchors(checks(records)),
            sections=[*every_section(records), *further],
            illustrations=illustrations(records),
            files=files or Files(),
            pairs=lambda record: [(record.run, each) for each in record.evidence],
        )
    )


def _with_anchors(records: Sequence[Record]) -> list[tuple[Record, bool]]:
    """Each with whether it is the first of its check, which links lead to: a suite may run a check several times."""
    first = {each.check: each for each in reversed(records)}
    return [(each, first[each.check] is each) for each in records]


@functools.cache
def environment() -> Environment:
    """Templates that escape everything, and know how tables, grids and the style sheet are shown."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    found = Environment(
        loader=PackageLoader("harness.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "".join(map(style_sheet, ("figure.css", "report.css")))
    found.globals |= {"style": style, "policy": policy(style)}
    found.tests["grid"] = lambda table: isinstance(table, Grid)
    found.filters["slug"] = lambda text: "-".join(str(text).lower().split())
    return found


def policy(style: str) -> str:
    """Content Security Policy of a page: this style sheet, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _cleaned(value: object) -> object:
    """Text of anybody without what shows nothing; markup of ours (a subclass of `str`) as it is."""
    return clean(value) if type(value) is str else value
