"""The page of a matrix: cells, numbers, links, changes; nothing in it runs, and nothing leaves it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from harness.report.cells import Part, Shard
from harness.report.matrix_page import render_matrix
from harness.report.observations import CallPhases, CallSeen
from harness.report.records import Record, Verdict

from .parts import NEW, OLD, PLAN, cell, head, result


def heard(after_ms: float) -> CallSeen:
    return CallSeen("call", CallPhases(first_audio_ms=after_ms), "relayed")


def test_a_cell_has_its_number_and_leads_to_its_run():
    record = result(cell())
    page = render_matrix("run", [head(), replace(record, observations=(*record.observations, heard(812.4)))])
    assert re.search(
        r'<td class="cell passed [^"]*"><a href="\./cells/call-[^"]*/report\.html" title="[^"]*">✓ 812 ms</a>',
        page,
    )
    assert "OK" in page and "1 of 1 cells passed" in page


def test_a_cell_of_a_merged_run_leads_to_its_shard():
    record = result(cell())
    [file] = record.evidence
    moved = replace(record, evidence=(replace(file, path=f"shard-2/{file.path}"),))
    assert f'href="./shard-2/{cell().directory}/report.html"' in render_matrix(
        "run", [head("s", Shard(2, 2)), moved]
    )


def test_a_failed_cell_says_who_is_to_blame_and_its_reason_stands_once():
    failed = [
        result(cell(cores=cores), Verdict.FAILED, "nobody was heard") for cores in (OLD, ("2.20.0", "2.65.0"))
    ]
    beside = [
        result(replace(cell("reference", cores), part=Part.BLAME)) for cores in (OLD, ("2.20.0", "2.65.0"))
    ]
    page = render_matrix(
        "run", [head(), *failed, *beside, result(cell(cores=NEW), Verdict.FAILED, "nobody was heard")]
    )
    assert page.count("✗ server") == 2
    reasons = page[page.index('id="reasons"') :]
    assert reasons.count("the same clients pass on reference, fails with every client") == 1
    assert "2 cells" in reasons


def test_what_is_different_from_the_last_matrix_is_marked():
    before = [head(), result(cell()), result(cell(cores=OLD))]
    now = [
        head(),
        result(cell(), Verdict.UNDECIDED),
        result(cell(cores=OLD)),
        result(cell(cores=("2.20.0", "2.65.0"))),
    ]
    page = render_matrix("run", now, before)
    assert re.findall(r"<small>(.*?)</small>", page) == ["new", "was passed"]
    assert page.count('class="cell undecided changed') == 1
    assert "changed" not in re.sub(r"<style>.*?</style>", "", render_matrix("run", now), flags=re.DOTALL)


def test_text_of_others_is_shown_and_never_run():
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e\x1b[31m'
    where = replace(cell(), server=evil, core_a=evil, networks=evil)
    page = render_matrix(evil, [head(), result(where, Verdict.FAILED, evil)])
    assert "<script" not in page and "<img" not in page
    assert "\u202e" not in page and "\x1b" not in page
    assert not re.search(r'(?:src|href)="(?!\.?/?(?:cells/|#))', page)
    assert "default-src &#39;none&#39;" in page


def test_five_hundred_cells_are_less_than_five_megabytes():
    versions = [f"2.{minor}.0" for minor in range(40, 65)]
    records: list[Record] = []
    for server, a, b in itertools.islice(
        itertools.product(("reference", "madmail"), versions, versions), 500
    ):
        verdict = Verdict.FAILED if a == b else Verdict.PASSED
        records.append(result(cell(server, (a, b)), verdict, "x" * 4000 if a == b else ""))
    plan = replace(PLAN, clients=tuple(versions))
    page = render_matrix("run", [replace(head(), observations=(plan,)), *records])
    assert page.count('class="cell ') >= 500
    assert len(page.encode()) < 5_000_000


def test_records_of_a_single_server_have_no_page():
    assert render_matrix("run", [replace(head(), observations=())]) == ""
