"""`python -m benchmarks.e2e`: wall time of tests 15 and 16 from process start to verdict, and where it went.

Each run is the drop-in as a program of its own. The steps come from its progress lines, the checks from its records;
what is left is the interpreter's start and end. Medians are printed, every run goes into the JSON file.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.report.plan import checks
from harness.report.records import read_results

MAIN = Path(__file__).resolve().parent.parent / "tests" / "deltachat-test" / "main.py"
STEP = re.compile(r"^ +(?P<at>\d+\.\d+) s  (?P<what>.+)$", re.MULTILINE)
GOALS = {15: 1.0, 16: 2.5}
"""Seconds that we aim at, from process start to verdict."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.e2e", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each test (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    options = parser.parse_args(argv)
    results = {number: [one_run(number) for _ in range(options.runs)] for number in GOALS}
    for number, runs in results.items():
        show(number, runs)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def one_run(number: int) -> dict[str, Any]:
    """Seconds of one run: `total`, each progress step since the start of the suite, and each check."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, str(MAIN), f"--test-{number}", "--out", f"{directory}/run"]
        started = time.perf_counter()
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        total = time.perf_counter() - started
        records = checks(read_results(Path(directory) / "run" / "results.jsonl").records)
    return {
        "total": round(total, 3),
        "steps": {_without_addresses(match["what"]): float(match["at"]) for match in STEP.finditer(output)},
        "checks": {record.check: round(record.duration, 3) for record in records},
    }


def show(number: int, runs: Sequence[dict[str, Any]]) -> None:
    totals = [run["total"] for run in runs]
    print(
        f"test {number}: median {statistics.median(totals):.2f} s, "
        f"{min(totals):.2f} to {max(totals):.2f} s in {len(runs)} runs (goal {GOALS[number]} s)"
    )
    for kind in ("steps", "checks"):
        for name in runs[0][kind]:
            median = statistics.median(run[kind][name] for run in runs if name in run[kind])
            print(f"    {'at ' if kind == 'steps' else '   '}{median:6.2f} s  {name}")


def _without_addresses(text: str) -> str:
    """The same step has the same name in each run."""
    return re.sub(r"(https?://\S+|\b127\.\S+)", "...", text)


if __name__ == "__main__":
    sys.exit(main())
