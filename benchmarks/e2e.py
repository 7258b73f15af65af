"""`python -m benchmarks.e2e`: seconds and processor time of what people wait for; with `--before COMMIT` as ratios.

Each figure is a program of its own, run here and in a checkout of that commit by the same interpreter, one after the
other and several times over. Of these the best counts: others on the machine only ever take time, and the first run
compiles. Processor time is that of all processes that the program started and waited for, and is disturbed least.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
DROP_IN = "tests/deltachat-test/main.py"
CLI = ("-c", "import sys; from harness.doors.cli import main; sys.exit(main())")
PLACES = ("now", "before")


@dataclass(frozen=True)
class Figure:
    """Something that people wait for."""

    words: tuple[str, ...]
    """Behind the name of the interpreter; `OUT` stands for a directory that is not there yet."""
    goal: str
    serves: bool = False
    """It is ready with its first line, and then told to end."""
    takes_minutes: bool = False


FIGURES = {
    "list": Figure((*CLI, "list"), "0.3 s"),
    "help": Figure((*CLI, "--help"), "0.3 s"),
    "server": Figure(
        ("-m", "reference_server", "--ephemeral-ports"), "0.35 s of processor time", serves=True
    ),
    "test-15": Figure((DROP_IN, "--test-15", "--out", "OUT"), "1 s"),
    "test-16": Figure((DROP_IN, "--test-16", "--out", "OUT"), "2.5 s"),
    "call": Figure((*CLI, "check", "calls.relayed_call_is_heard_and_seen", "--out", "OUT"), "less"),
    "check": Figure((*CLI, "check", "--out", "OUT"), "60 s", takes_minutes=True),
    "kills": Figure((*CLI, "mutants", "--declared", "--out", "OUT"), "180 s", takes_minutes=True),
}


@dataclass(frozen=True)
class Took:
    """One run, in seconds."""

    wall: float
    processor: float
    code: int


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.e2e", description=__doc__.partition("\n")[0])
    parser.add_argument("figure", nargs="*", help=f"of {', '.join(FIGURES)} (default: those without minutes)")
    parser.add_argument("--before", metavar="COMMIT", help="compare with a checkout of this commit")
    parser.add_argument("--runs", type=int, default=3, help="of each (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    options = parser.parse_args(argv)
    if unknown := set(options.figure) - FIGURES.keys():
        parser.error(f"there is no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    names = options.figure or [name for name, each in FIGURES.items() if not each.takes_minutes]
    results: dict[str, dict[str, list[Took]]] = {}
    with checkouts(options.before) as roots:
        for name in names:
            results[name] = {place: [] for place in roots}
            for _ in range(options.runs):
                for place, root in roots.items():
                    results[name][place].append(one_run(FIGURES[name], root))
            print(sentence(name, results[name]), flush=True)
    if options.json:
        plain = {
            name: {place: [asdict(each) for each in runs] for place, runs in found.items()}
            for name, found in results.items()
        }
        options.json.write_text(json.dumps(plain, indent=2) + "\n")
    return 0


@contextmanager
def checkouts(before: str | None) -> Iterator[dict[str, Path]]:
    """Where the programs are: here, and of an earlier commit in a work tree that goes with the block."""
    if before is None:
        yield {"now": HERE}
        return
    with tempfile.TemporaryDirectory(prefix="dc-harness-before-") as directory:
        tree = Path(directory) / "tree"
        git = ("git", "-C", str(HERE), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", tree, before], check=True)
        try:
            yield dict(zip(PLACES, (HERE, tree), strict=True))
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)


def one_run(figure: Figure, root: Path) -> Took:
    """Run it in a checkout. What an installed package would find elsewhere is found there first."""
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        words = [word.replace("OUT", f"{directory}/out") for word in figure.words]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        if figure.serves:
            process.stdout.readline()
            wall = time.perf_counter() - started
            process.send_signal(signal.SIGTERM)
        process.stdout.read()
        _pid, status, used = os.wait4(process.pid, 0)
        if not figure.serves:
            wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
    return Took(round(wall, 3), round(used.ru_utime + used.ru_stime, 3), process.returncode)


def sentence(name: str, runs: dict[str, list[Took]]) -> str:
    """The best of each place, and how the two compare."""
    wall = {place: min(each.wall for each in found) for place, found in runs.items()}
    processor = {place: min(each.processor for each in found) for place, found in runs.items()}
    text = f"{name:8} {wall['now']:7.2f} s, {processor['now']:7.2f} s of processor time (goal {FIGURES[name].goal})"
    if "before" in runs:
        ratios = f"{wall['now'] / wall['before']:.2f} and {processor['now'] / processor['before']:.2f}"
        text += f"; {ratios} of {wall['before']:.2f} s and {processor['before']:.2f} s before"
    failed = sorted({each.code for found in runs.values() for each in found if each.code})
    return f"{text}; exit codes {failed}" if failed else text


if __name__ == "__main__":
    sys.exit(main())
