"""`dc-harness report`: shows runs that have ended, merges shards of one, verifies and signs them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import plain
from .console import complain, say
from .exit_codes import EXPLANATION, FAILED, PASSED, USAGE, exit_code_of

if TYPE_CHECKING:
    from ..report.reading import ReadRun

__all__ = ["add_command"]

USES = """dc-harness report RUN... [--compare RUN] [--kills RUN] [--html FILE] [--markdown FILE] [--junit FILE]
       dc-harness report merge RUN... --out DIR
       dc-harness report verify RUN... [--key PUBLIC_KEY]
       dc-harness report sign RUN... --key PRIVATE_KEY
       dc-harness report new-key FILE"""
FURTHER = (
    "A run is the directory that it left. `merge` makes one of the shards of several machines; `verify` compares each "
    "file with the manifest, and that with its signature; `sign` vouches for a run, with an Ed25519 key in PEM that "
    "`new-key` makes. A directory with such a name is `./verify`."
)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser("report", help=sentence, usage=USES, description=FURTHER, epilog=EXPLANATION)
    parser.add_argument("words", nargs="+", metavar="RUN", help="directory of a run")
    parser.add_argument("--compare", type=Path, metavar="RUN", help="say what changed since this run")
    parser.add_argument(
        "--kills", type=Path, metavar="RUN", help="with the kill table of a run of `dc-harness mutants`"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="one page that needs no other file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the same as Markdown")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="the same as JUnit XML, for CI")
    parser.add_argument("--out", type=Path, metavar="DIR", help="directory of the merged run")
    parser.add_argument("--key", type=Path, metavar="FILE", help="Ed25519 key in PEM")
    parser.set_defaults(run=report)


def report(arguments: argparse.Namespace) -> int:
    """The exit code is that of the runs, as if they had just ended; 2 if one of them cannot be read."""
    from ..report.merge import MergeError  # noqa: PLC0415 - other commands need not load it
    from ..report.reading import Unreadable  # noqa: PLC0415
    from ..report.seal import SealError  # noqa: PLC0415

    first, *others = arguments.words
    act = ACTIONS.get(first, _render)
    places = [Path(each) for each in (others if first in ACTIONS else arguments.words)]
    if not places:
        complain(f"`report {first}` needs the directory of a run")
        return USAGE
    try:
        return act(places, arguments)
    except (Unreadable, MergeError, SealError, ValueError) as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.filename} cannot be written: {plain(error)}")
    return USAGE


def _render(places: list[Path], arguments: argparse.Namespace) -> int:
    from ..report.cells import CellOf  # noqa: PLC0415
    from ..report.compare import compare  # noqa: PLC0415
    from ..report.html import render_html  # noqa: PLC0415
    from ..report.interop import plans  # noqa: PLC0415
    from ..report.junit import render_junit  # noqa: PLC0415
    from ..report.kills import kill_table, read_kills  # noqa: PLC0415
    from ..report.markdown import render_markdown  # noqa: PLC0415
    from ..report.plan import checks  # noqa: PLC0415
    from ..report.reading import files_of, read_run, read_runs  # noqa: PLC0415
    from ..report.terminal import render_end  # noqa: PLC0415

    runs = read_runs(places)
    records = [record for run in runs for record in run.records]
    if records and all(record.seen(CellOf) for record in checks(records)) and plans(records):
        return _render_matrix(runs, arguments)
    problems = [problem for run in runs for problem in run.problems]
    name = ", ".join(run.name for run in runs)
    since = compare(read_run(arguments.compare).records, records) if arguments.compare else None
    ran = [each.check for each in checks(records)]
    further = [kill_table(read_kills(arguments.kills), ran)] if arguments.kills else []
    if arguments.html is not None:
        files = files_of(runs, arguments.html)
        _write(arguments.html, render_html(name, records, problems, files, since=since, further=further))
    if arguments.markdown is not None:
        _write(arguments.markdown, render_markdown(name, records, problems, since=since, further=further))
    if arguments.junit is not None:
        _write(arguments.junit, render_junit(name, records))
    if arguments.html is arguments.markdown is arguments.junit is None:
        say(render_end(records, problems))
        for section in further:
            say(f"\n{section.text()}")
        for sentence in since.sentences if since else ():
            say(sentence)
    return exit_code_of(records)


def _render_matrix(runs: Sequence[ReadRun], arguments: argparse.Namespace) -> int:
    """A matrix has a page and a verdict of its own; those of several shards are `merge`d first."""
    from ..report.interop import interop  # noqa: PLC0415
    from ..report.junit import render_junit  # noqa: PLC0415
    from ..report.matrix_markdown import render_matrix_markdown  # noqa: PLC0415
    from ..report.matrix_page import render_matrix  # noqa: PLC0415
    from ..report.matrix_terminal import render_matrix_end  # noqa: PLC0415
    from ..report.merge import below  # noqa: PLC0415
    from ..report.reading import read_run  # noqa: PLC0415

    if len(runs) > 1:
        complain(
            "one of these runs is a matrix: show it by itself, or merge its shards first (`report merge`)"
        )
        return USAGE
    [run] = runs
    before = read_run(arguments.compare).records if arguments.compare else ()
    if arguments.html is not None:
        place = os.path.relpath(run.directory, arguments.html.absolute().parent)
        _write(arguments.html, render_matrix(run.name, [below(place, each) for each in run.records], before))
    if arguments.markdown is not None:
        _write(arguments.markdown, render_matrix_markdown(run.name, run.records))
    if arguments.junit is not None:
        _write(arguments.junit, render_junit(run.name, run.records))
    found = interop(run.records)
    assert found is not None
    if arguments.html is arguments.markdown is arguments.junit is None:
        say(render_matrix_end(found, problems=run.problems))
    return exit_code_of(run.records)


def _merge(places: list[Path], arguments: argparse.Namespace) -> int:
    from ..report.interop import interop  # noqa: PLC0415
    from ..report.matrix_terminal import render_matrix_end  # noqa: PLC0415
    from ..report.merge import merge  # noqa: PLC0415
    from ..report.reading import read_runs  # noqa: PLC0415
    from ..report.terminal import render_end  # noqa: PLC0415

    if arguments.out is None:
        complain("`report merge` needs --out DIR, a directory that is new or empty")
        return USAGE
    shards = read_runs(places)
    merged = merge(shards, arguments.out)
    problems = [f"{shard.name}: {problem}" for shard in shards for problem in shard.problems]
    matrix = interop(merged.records)
    end = render_matrix_end(matrix, problems=problems) if matrix else render_end(merged.records, problems)
    say(f"{end}\nResults in {merged.directory}")
    return exit_code_of(merged.records)


def _verify(places: list[Path], arguments: argparse.Namespace) -> int:
    from ..report.seal import verify  # noqa: PLC0415

    faults = 0
    for place in places:
        sealed = verify(place, arguments.key)
        faults += len(sealed.faults)
        for fault in sealed.faults:
            say(f"{place}: {fault}")
        if not sealed.faults:
            by = f", signed by {sealed.signed_by}" if sealed.signed_by else "; nobody signed them"
            say(f"{place}: {sealed.files} files are as they were{by}")
    return FAILED if faults else PASSED


def _sign(places: list[Path], arguments: argparse.Namespace) -> int:
    from ..report.seal import sign  # noqa: PLC0415

    if arguments.key is None:
        complain("`report sign` needs --key FILE; `dc-harness report new-key FILE` makes one")
        return USAGE
    for place in places:
        say(f"{place}: signed by {sign(place, arguments.key)}")
    return PASSED


def _new_key(places: list[Path], _arguments: argparse.Namespace) -> int:
    from ..report.seal import new_key  # noqa: PLC0415

    for place in places:
        say(f"{place}: public key {new_key(place)}, also in {place}.pub")
    return PASSED


ACTIONS: Mapping[str, Callable[[list[Path], argparse.Namespace], int]] = {
    "merge": _merge,
    "verify": _verify,
    "sign": _sign,
    "new-key": _new_key,
}


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    say(f"written: {file}")
