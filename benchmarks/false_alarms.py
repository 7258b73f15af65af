"""`python -m benchmarks.false_alarms`: whole runs of `dc-harness check` on a right server, one after the other.

A `failed` in one of them is a false alarm, and so is an `undecided` whose reason does not name the machine. Runs lie in
the directory of `--out`; those that are there already are counted and not made again, so that many can be made bit by
bit. Exit code 1 for a false alarm.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.report.ending import RunEnded
from harness.report.plan import checks
from harness.report.reading import ReadRun, Unreadable, read_run
from harness.report.records import Record, Verdict

CHECK = (sys.executable, "-c", "import sys; from harness.doors.cli import main; sys.exit(main())", "check")
SPIN = (sys.executable, "-c", "while True: pass")
NAMES_THE_MACHINE = "machine too slow"


def whole_run(directory: Path, words: Sequence[str]) -> ReadRun:
    """The run in this directory, which is made where there is none that came to its end.

    Raises `Unreadable` where there is a part of one.
    """
    if not directory.exists():
        with directory.with_suffix(".txt").open("w") as said:
            subprocess.run([*CHECK, "--out", str(directory), *words], stdout=said, stderr=said, check=False)
    run = read_run(directory)
    if (end := _end(run)) is None or end.interrupted:
        raise Unreadable(f"{directory} has a part of a run: remove it, and it is made anew")
    return run


def false_alarms(run: ReadRun) -> list[Record]:
    """Records that blame a server although it is right, or that leave open what was in their way."""
    return [each for each in checks(run.records) if each.verdict is Verdict.FAILED or _is_unexplained(each)]


def told(run: ReadRun) -> str:
    """A run in a line, with the load of the machine at its end."""
    counts = Counter(each.verdict for each in checks(run.records))
    end = _end(run)
    load = f", load {end.load}" if end is not None and end.load is not None else ""
    seconds = f"{end.seconds:.0f} s" if end is not None else "no end"
    return f"{run.name}: {', '.join(f'{counts[each]} {each}' for each in Verdict if counts[each])}; {seconds}{load}"


def _is_unexplained(record: Record) -> bool:
    return record.verdict is Verdict.UNDECIDED and NAMES_THE_MACHINE not in record.reason


def _end(run: ReadRun) -> RunEnded | None:
    return next((end for each in run.records for end in each.seen(RunEnded)), None)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Programs beside, each of which wants a processor for itself."""
    with contextlib.ExitStack() as stack:
        for _ in range(processes):
            stack.callback(stack.enter_context(subprocess.Popen(SPIN)).kill)
        yield


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.false_alarms",
        description=(__doc__ or "").partition("\n")[0],
        epilog="Further words go to `dc-harness check`, such as --server reference+coturn+iroh-relay.",
    )
    parser.add_argument("--runs", type=int, default=30, help="how many (default: %(default)s)")
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="processes that want a processor beside"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="directory for the runs")
    options, words = parser.parse_known_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    decided: Counter[Verdict] = Counter()
    alarms = 0
    with busy(options.busy):
        for number in range(1, options.runs + 1):
            try:
                run = whole_run(options.out / f"run-{number}", words)
            except Unreadable as error:
                parser.error(str(error))
            print(told(run), flush=True)
            for each in (found := false_alarms(run)):
                print(f"    {each.verdict}: {each.check}: {each.reason}", flush=True)
            alarms += len(found)
            decided.update(each.verdict for each in checks(run.records))
    verdicts = sum(decided[each] for each in (Verdict.PASSED, Verdict.FAILED, Verdict.UNDECIDED))
    share = decided[Verdict.UNDECIDED] / max(1, verdicts)
    print(
        f"{options.runs} runs, {verdicts} verdicts: {decided[Verdict.FAILED]} failed, {share:.1%} undecided"
    )
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
