"""`dc-harness report` on runs as they are found: cut off, of somebody else, of a newer version, without their files."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from harness.doors.cli import main
from harness.report.records import Record, Verdict
from harness.report.run import Run

from .matrix import parts as matrix_parts
from .records import EVERYTHING, FAILED, PASSED, RELAYED_CALL, UNDECIDED
from .test_html import Page


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path / "run")
    for record in EVERYTHING:
        run.add(replace(record, run="run", evidence=()))
    run.finish()
    return run.directory


def shown(capsys, *words) -> tuple[int, str]:
    code = main(["report", *map(str, words)])
    told = capsys.readouterr()
    assert "Traceback" not in told.err and "Errno" not in told.err
    return code, " ".join((told.out + told.err).split())


def with_line(directory, line: bytes) -> None:
    results = directory / "results.jsonl"
    results.write_bytes(results.read_bytes() + line)


def test_all_formats_say_the_same(run, tmp_path, capsys):
    page, text, junit = (tmp_path / name for name in ("p.html", "t.md", "j.xml"))
    code, _ = shown(capsys, run, "--html", page, "--markdown", text, "--junit", junit)
    assert code == 0, "its must-list decides"
    for words in ("it was accepted", "we crashed on"):
        for file in (page, text, junit):
            assert words in file.read_text()
    assert page.read_text() == (run / "report.html").read_text()
    assert text.read_text() == (run / "report.md").read_text()
    assert junit.read_text() == (run / "junit.xml").read_text()


def test_numbers_on_the_page_are_those_of_the_records(run):
    text = Page((run / "report.html").read_text()).text
    records = [Record.from_json(line) for line in (run / "results.jsonl").read_bytes().splitlines()]
    numbers = [way for each in records for call in each.seen(type(RELAYED_CALL)) for way in call.directions]
    assert numbers
    for way in numbers:
        for value in (way.sent, way.received, way.lost):
            assert f"{value:,}" in text
    assert "12 ms" in text or "0.012 s" in text


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([PASSED], 0),
        ([PASSED, FAILED], 1),
        ([PASSED, UNDECIDED], 3),
        ([replace(PASSED, verdict=Verdict.NOT_RUN)], 3),
    ],
)
def test_the_exit_code_is_that_of_the_run(tmp_path, capsys, records, code):
    run = Run(tmp_path / "run")
    for record in records:
        run.add(record)
    assert shown(capsys, run.directory)[0] == code


def test_a_run_that_was_cut_off_is_shown_and_said(run, tmp_path, capsys):
    results = run / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-100])
    _, told = shown(capsys, run)
    assert "is cut off: the run was interrupted while it wrote" in told
    shown(capsys, run, "--html", tmp_path / "p.html")
    assert "is cut off" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    "line", [b"[1, 2]\n", b'{"name": "x"}\n', b"\xff\xfe\n", b"{" * 5000 + b"\n", b"null\n"]
)
def test_lines_of_somebody_else_are_left_out_and_said(run, capsys, line):
    with_line(run, line)
    _, told = shown(capsys, run)
    assert "is no result of dc-harness and was left out" in told
    assert "1 failed" in told


def test_records_of_a_newer_version_are_shown_as_far_as_possible(run, tmp_path, capsys):
    newer = json.loads(replace(PASSED, check="mail.newer").to_json())
    newer |= {"schema": 99, "mood": "good"}
    newer["observations"] = [{"kind": "hologram", "version": 1, "depth_m": 7}]
    with_line(run, json.dumps(newer).encode() + b"\n")
    _, told = shown(capsys, run)
    assert "was written by a newer version of dc-harness" in told
    shown(capsys, run, "--html", tmp_path / "p.html")
    text = Page((tmp_path / "p.html").read_text()).text
    assert "mail.newer" in text and "depth_m 7" in text


def test_a_run_without_a_result_is_no_verdict(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "results.jsonl").write_text("")
    code, told = shown(capsys, empty, "--html", tmp_path / "p.html", "--junit", tmp_path / "j.xml")
    assert code == 5
    text = Page((tmp_path / "p.html").read_text()).text
    assert "NO VERDICT" in text and "has no result" in text
    ET.parse(tmp_path / "j.xml")
    assert "written" in told


def test_what_cannot_be_read_or_written_is_a_sentence(run, tmp_path, capsys):
    for words, sentence in (
        ((tmp_path,), "is no run"),
        ((tmp_path / "none",), "is no run"),
        ((run, "--compare", tmp_path), "is no run"),
        ((run, "--html", tmp_path / "no" / "p.html"), "cannot be written: no such file or directory"),
        ((run, run), "is given twice"),
        ((run, "--html", tmp_path), "cannot be written: is a directory"),
    ):
        code, told = shown(capsys, *words)
        assert (code, sentence in told) == (2, True), told


def test_a_matrix_is_shown_as_one_wherever_its_page_is_written(tmp_path, capsys):
    run = Run(tmp_path / "run")
    cell = matrix_parts.cell()
    for record in (matrix_parts.head(), matrix_parts.result(cell)):
        run.append(replace(record, run="run"))
    run.finish()
    beside, inside, text = tmp_path / "page.html", run.directory / "again.html", tmp_path / "page.md"
    code, _ = shown(capsys, run.directory, "--html", beside, "--markdown", text)
    shown(capsys, run.directory, "--html", inside)
    assert code == 0
    assert inside.read_text() == (run.directory / "matrix.html").read_text()
    assert text.read_text() == (run.directory / "matrix.md").read_text()
    own_run = f"{cell.directory}/report.html"
    assert f'href="./{own_run}"' in inside.read_text()
    assert f'href="./run/{own_run}"' in beside.read_text()
    assert "1 of 1 cells passed" in shown(capsys, run.directory)[1]
    shutil.copytree(run.directory, tmp_path / "shard-2")
    code, told = shown(capsys, run.directory, tmp_path / "shard-2")
    assert code == 2 and "merge its shards first" in told
