"""`dc-harness report`: runs that have ended, as a page, as Markdown, for CI, or at the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .console import complain, say
from .exit_codes import EXPLANATION, USAGE, exit_code

__all__ = ["add_command"]

USES = """dc-harness report RUN... [--html FILE] [--markdown FILE] [--junit FILE]"""


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("report", help="show runs that have ended", usage=USES, epilog=EXPLANATION)
    parser.add_argument("places", nargs="+", type=Path, metavar="RUN", help="directory of a run")
    parser.add_argument("--html", type=Path, metavar="FILE", help="one page that needs no other file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the same as Markdown")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the same as JUnit XML, for CI")
    parser.set_defaults(run=report)


def report(arguments: argparse.Namespace) -> int:
    """The exit code is that of the runs, as if they had just ended; 2 if one of them cannot be read."""
    from ..report.reading import Unreadable  # noqa: PLC0415 - other commands need not load it

    try:
        return _render(arguments.places, arguments)
    except Unreadable as error:
        complain(str(error))
        return USAGE


def _render(places: Sequence[Path], arguments: argparse.Namespace) -> int:
    from ..report.html import render_html  # noqa: PLC0415
    from ..report.junit import render_junit  # noqa: PLC0415
    from ..report.markdown import render_markdown  # noqa: PLC0415
    from ..report.plan import checks  # noqa: PLC0415
    from ..report.reading import files_of, read_runs  # noqa: PLC0415
    from ..report.terminal import render_end  # noqa: PLC0415

    runs = read_runs(places)
    records = [record for run in runs for record in run.records]
    problems = [problem for run in runs for problem in run.problems]
    name = ", ".join(run.name for run in runs)
    if arguments.html is not None:
        page = render_html(name, records, problems, files_of(runs, arguments.html))
        _write(arguments.html, page)
    if arguments.markdown is not None:
        _write(arguments.markdown, render_markdown(name, records, problems))
    if arguments.junit is not None:
        _write(arguments.junit, render_junit(name, records))
    if arguments.html is arguments.markdown is arguments.junit is None:
        say(render_end(records, problems))
    return exit_code(each.verdict for each in checks(records))


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    say(f"written: {file}")
