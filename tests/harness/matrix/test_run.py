"""A matrix from its plan to its page, with a script in place of `dc-harness check`."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.clients.core.errors import CoreUnusable
from harness.doors.cli import main
from harness.hosts import LocalHost
from harness.matrix import children, controls, run
from harness.matrix.children import Ended, Job, run_jobs
from harness.matrix.controls import Looked
from harness.report.cells import CellOf
from harness.report.interop import Blame, State, interop
from harness.report.matrix_page import PAGE
from harness.report.plan import checks
from harness.report.records import Verdict, read_results
from harness.report.run import RESULTS
from harness.waiting import wait_until

from ..records import expect_to_keep_to_the_schema
from .parts import KILLS, TEXT

NOTHING: Mapping[str, tuple[str, str]] = {}
RIGHT = Looked({"program": "program 1.0"}, made_up=(Verdict.UNSUPPORTED, "METADATA has no made-up-1"))
SCRIPT = """
import json, sys
from pathlib import Path
words = dict(zip(sys.argv[3::2], sys.argv[4::2]))
wanted = json.loads(Path(__file__).with_name("wanted.json").read_text())
where = " ".join(sys.argv[2:])
fitting = (found for words_of, found in wanted.items() if all(each in where for each in words_of.split()))
verdict, reason = next(fitting, ("passed", ""))
if verdict == "crash":
    print("Segmentation fault")
    sys.exit(-11)
out = Path(words["--out"])
line = {"schema": 4, "run": out.name, "check": sys.argv[2], "verdict": verdict, "reason": reason}
line |= {"time": 1.8e9, "duration": 2.0, "target": "t"}
(out / "results.jsonl").write_text(json.dumps(line) + "\\n")
(out / "report.html").write_text("<!doctype html>")
"""


@pytest.fixture
def matrix(tmp_path, monkeypatch):
    """Runs a matrix of two cores and four servers, on which cells end as `wanted` says. Gives its exit code."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(children, "ENTRY", (sys.executable, str(script)))
    monkeypatch.setattr(controls, "declared_kills", lambda _host: KILLS)
    monkeypatch.setattr(controls, "look_at", lambda _entry, _run: RIGHT)
    monkeypatch.setattr(run, "core_binary", lambda _version: None)
    file = tmp_path / "interop.toml"
    file.write_text(TEXT)

    def matrix_of(*options: str, wanted: Mapping[str, tuple[str, str]] = NOTHING) -> int:
        """`wanted`: words of the command -> verdict and reason of the cells that have all of them."""
        wrong = {"turn_other_secret calls_take": ("failed", "home: the call should be relayed")}
        (tmp_path / "wanted.json").write_text(json.dumps(wrong | dict(wanted)))
        out = str(tmp_path / "out")
        chosen = ["--clients", "2.50.0,2.65.0", "--networks", "home:home"]
        return main(["matrix", str(file), *chosen, "--out", out, *options])

    return matrix_of


def results(directory: Path):
    found = read_results(directory / "out" / RESULTS)
    assert found.problems == ()
    return found.records


def test_a_matrix_writes_its_plan_first_then_each_cell_and_a_page(matrix, tmp_path, capsys):
    assert matrix() == 0
    expect_to_keep_to_the_schema(tmp_path / "out" / RESULTS)
    records = results(tmp_path)
    planned = [each for each in records if each.verdict is Verdict.NOT_RUN]
    assert len(planned) == len(checks(records))
    ended = [each for each in records if each.verdict is Verdict.PASSED and not each.is_head]
    assert records.index(planned[-1]) < records.index(ended[0])
    found = interop(records)
    assert found is not None and {each.state for each in (*found.places, *found.controls)} == {State.PASSED}
    assert all((tmp_path / "out" / each.href).is_file() for each in found.places)
    assert "OK: " in capsys.readouterr().out
    assert (tmp_path / "out" / PAGE).read_text().count('class="cell passed') == len(found.places) + len(
        found.controls
    )


def test_a_cell_says_how_to_try_it_again(matrix, tmp_path):
    matrix("--scenarios", "call", "--pairs", "all")
    cells = [each for record in results(tmp_path) for each in record.seen(CellOf) if each.command]
    assert (
        "dc-harness check calls_paths.calls_take_the_expected_path --server reference+coturn "
        "--core alice=2.50.0,bob=2.65.0 --pair home:home"
    ) in {each.command for each in cells}
    assert all(each.cpu_s is not None and each.cpu_s < 60 for each in cells)


def test_a_failure_is_tried_with_references_until_somebody_is_to_blame(matrix, tmp_path):
    failed = ("failed", "no audio")
    assert matrix("--scenarios", "call", wanted={"calls_take reference+coturn": failed}) == 1
    found = interop(results(tmp_path))
    assert found is not None
    wrong = [each for each in found.places if each.state is State.FAILED]
    assert {each.cell.server for each in wrong} == {"composed"}
    assert {each.blame for each in wrong} == {Blame.SERVER}


def test_what_fails_everywhere_is_nobodys(matrix, tmp_path):
    failed = ("failed", "the call should be relayed")
    assert matrix("--scenarios", "call", wanted={"calls_take home": failed}) == 3
    found = interop(results(tmp_path))
    assert found is not None
    assert {each.state for each in found.places} == {State.UNBLAMED}


def test_a_control_that_stays_green_is_wrong(matrix, monkeypatch, capsys):
    kills = {"turn_other_secret": {"mail.idle_reports_new_mail": "no EXISTS"}}
    monkeypatch.setattr(controls, "declared_kills", lambda _host: kills)
    assert matrix("--scenarios", "mail") == 1
    assert "must be failed with 'no EXISTS', and is passed" in " ".join(capsys.readouterr().out.split())


def test_a_server_that_claims_what_was_made_up_is_wrong(matrix, monkeypatch, capsys):
    claims = Looked(made_up=(Verdict.FAILED, "METADATA has a value for /made-up"))
    monkeypatch.setattr(controls, "look_at", lambda entry, _run: claims if entry.name == "live" else RIGHT)
    assert matrix("--scenarios", "call") == 1
    assert "must be unsupported, and is failed: METADATA has a value" in " ".join(
        capsys.readouterr().out.split()
    )


def test_what_cannot_be_had_is_said_once_and_the_others_go_on(matrix, tmp_path, monkeypatch, capsys):
    def binary(version: str) -> None:
        if version == "2.50.0":
            raise CoreUnusable("the package index has no deltachat-rpc-server 2.50.0 for this machine")

    monkeypatch.setattr(run, "core_binary", binary)
    ends = Verdict.FAILED, "reference+coturn does not start: exit code 1"
    broken = Looked(refused=ends, made_up=(Verdict.SKIPPED, ends[1]))
    monkeypatch.setattr(
        controls, "look_at", lambda entry, _run: broken if entry.name == "composed" else RIGHT
    )
    assert matrix("--scenarios", "call", "--pairs", "all") == 1
    found = interop(results(tmp_path))
    assert found is not None
    states = {each.cell.name: each.state for each in found.places}
    assert {state for name, state in states.items() if ", composed" in name} == {State.FAILED}
    of_version = {state for name, state in states.items() if "2.50.0" in name and "composed" not in name}
    assert of_version == {State.SKIPPED}
    assert State.PASSED in states.values()
    output = capsys.readouterr().out
    end = output[output.index("FAILED") :]
    assert end.count("the package index has no") == 1


def test_a_cell_that_crashes_is_undecided_with_its_last_words(matrix, tmp_path):
    assert matrix("--scenarios", "call", wanted={"calls_take reference+coturn": ("crash", "")}) == 3
    found = interop(results(tmp_path))
    assert found is not None
    why = {each.why for each in found.places if each.state is State.UNDECIDED}
    said = "exit code 245 and left no result: Segmentation fault"
    assert why == {f"the process of the cell ended with {said}"}


def test_an_interrupted_matrix_keeps_its_results_and_ends_its_cells(matrix, tmp_path, capsys, monkeypatch):
    slow = "import pathlib, sys, time; pathlib.Path(sys.argv[-1], 'began').touch(); time.sleep(60)"
    monkeypatch.setattr(children, "ENTRY", (sys.executable, "-c", slow))

    def end_us() -> None:
        wait_until(lambda: list((tmp_path / "out").glob("cells/*/began")), "a cell to begin", within=30)
        os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(end_us)
        assert matrix("--scenarios", "call") == 128 + signal.SIGTERM
    found = interop(results(tmp_path))
    assert found is not None and {each.state for each in found.places} == {State.NOT_RUN}
    assert "NO VERDICT: interrupted (SIGTERM)" in capsys.readouterr().out
    assert (tmp_path / "out" / PAGE).is_file()


def test_a_shard_ends_with_the_verdict_on_its_own_cells(matrix, tmp_path):
    assert matrix("--shard", "2/3") == 0
    found = interop(results(tmp_path))
    assert found is not None and found.missing_shards == (1, 3)
    left = [each for each in found.places if each.state is State.NOT_RUN]
    assert left and {each.why for each in left} == {"it is in shard 1/3", "it is in shard 3/3"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--servers", "madmial"], "--servers: there is no 'madmial'"),
        (["--scenarios", "cal"], "did you mean call?"),
        (["--clients", "old"], "'old' is no version of core"),
        (["--networks", "home:hom"], "did you mean home?"),
        (["--peers", "webrtc"], "there is no 'webrtc'"),
        (["--shard", "4/3"], "--shard '4/3' is no part like 1/3"),
        (["--compare", "/nowhere"], "/nowhere is no run"),
    ],
)
def test_an_option_that_is_wrong_ends_with_2_and_leaves_nothing(options, sentence, matrix, tmp_path, capsys):
    assert matrix(*options) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def job(directory: Path, name: str, cost: float, text: str) -> Job:
    file = directory / f"{name}.py"
    file.write_text(textwrap.dedent(text))
    return Job(name, (str(file),), directory / name, cost)


def test_jobs_start_as_far_as_they_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "ENTRY", (sys.executable,))
    record = """
        import pathlib, time
        place = pathlib.Path(__file__).parent / "running"
        place.mkdir(exist_ok=True)
        mine = place / pathlib.Path(__file__).stem
        mine.touch()
        seen = " ".join(sorted(each.name for each in place.iterdir()))
        (place.parent / (mine.name + ".seen")).write_text(seen)
        time.sleep(0.4)  # long enough to be seen by one that was wrongly started beside it
        mine.unlink()
    """
    jobs = [
        job(tmp_path, name, cost, record) for name, cost in (("a", 1.2), ("b", 1.2), ("c", 0.6), ("d", 5.0))
    ]
    ended: list[Ended] = []

    def keep(each: Ended) -> list[Job]:
        ended.append(each)
        return []

    run_jobs(jobs, LocalHost(), at_once=3, processors=2, ended=keep)
    assert {each.job.key for each in ended} == {"a", "b", "c", "d"}
    seen = {name: set((tmp_path / f"{name}.seen").read_text().split()) for name in "abcd"}
    assert "b" not in seen["a"] and "a" not in seen["b"]
    assert seen["d"] == {"d"}


def test_a_job_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "ENTRY", (sys.executable, "-c", "import time; time.sleep(60)"))
    ended = children.Child(LocalHost(), Job("x", (), tmp_path / "x", 1.0)).wait(within=0.3)
    assert ended.exit_code == -signal.SIGTERM
    assert ended.seconds < 20
