"""Shards of several machines become one run; what does not belong together is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace

from harness.doors.cli import main
from harness.report.observations import MachineSeen
from harness.report.plan import checks
from harness.report.reading import read_run
from harness.report.records import Verdict, read_results
from harness.report.run import Run
from harness.report.seal import verify

from .records import PASSED, expect_to_keep_to_the_schema


def shard(directory, *done, version="0.2.0", planned=("mail.idle", "mail.policy")):
    run = Run(directory)
    run.plan([(name, ("MAIL-3",)) for name in planned], target="t")
    run.begin(MachineSeen((), {"dc-harness": version}), target="t")
    for name in done:
        log = run.logs / f"{name}.log"
        log.write_text(f"{directory.name} {name}")
        run.add(replace(PASSED, run=run.name, check=name), [log])
    run.end()
    run.finish()
    return directory


def merge(capsys, *words):
    code = main(["report", "merge", *map(str, words)])
    return code, capsys.readouterr()


def test_two_shards_are_one_run_with_the_files_of_both(tmp_path, capsys):
    one = shard(tmp_path / "one", "a.x", planned=("a.x",))
    two = shard(tmp_path / "two", "a.y", planned=("a.y",))
    code, told = merge(capsys, one, two, "--out", tmp_path / "all")
    assert code == 0
    assert "2 passed." in told.out
    found = read_run(tmp_path / "all")
    assert found.problems == ()
    assert {each.check: each.verdict for each in checks(found.records)} == {
        "a.x": Verdict.PASSED,
        "a.y": Verdict.PASSED,
    }
    assert (tmp_path / "all/two/logs/a.y.log").read_text() == "two a.y"
    assert verify(tmp_path / "all").faults == ()
    expect_to_keep_to_the_schema(tmp_path / "all/results.jsonl")
    assert 'href="./one/logs/a.x.log"' in (tmp_path / "all/report.html").read_text()


def test_what_a_lost_shard_did_not_come_to_is_not_run(tmp_path, capsys):
    one = shard(tmp_path / "one", "a.x", planned=("a.x",))
    lost = shard(tmp_path / "lost", planned=("a.y", "a.z"))
    merge(capsys, one, lost, "--out", tmp_path / "all")
    found = checks(read_results(tmp_path / "all/results.jsonl").records)
    assert [each.check for each in found if each.verdict is Verdict.NOT_RUN] == ["a.y", "a.z"]
    assert "RELEASE OK" not in (tmp_path / "all/summary.md").read_text()


def test_the_same_shard_twice_is_refused(tmp_path, capsys):
    one = shard(tmp_path / "one", "a.x")
    shutil.copytree(one, tmp_path / "again")
    for words in ((one, one), (one, tmp_path / "again")):
        code, told = merge(capsys, *words, "--out", tmp_path / "all")
        assert code == 2
        assert "given twice" in told.err or "are the same run" in told.err
    assert not (tmp_path / "all").exists()


def test_shards_of_different_versions_are_refused(tmp_path, capsys):
    one, two = shard(tmp_path / "one", "a.x"), shard(tmp_path / "two", "a.y", version="0.3.0")
    code, told = merge(capsys, one, two, "--out", tmp_path / "all")
    assert code == 2
    assert "of different versions: one by dc-harness 0.2.0 and two by dc-harness 0.3.0" in told.err
    assert not (tmp_path / "all").exists()


def test_records_of_another_version_are_refused_too(tmp_path, capsys):
    one, two = shard(tmp_path / "one", "a.x"), shard(tmp_path / "two", "a.y")
    results = two / "results.jsonl"
    results.write_text(results.read_text().replace('"schema": ', '"schema": 9'))
    code, told = merge(capsys, one, two, "--out", tmp_path / "all")
    assert code == 2
    assert "of different versions" in told.err


def test_bad_input_leaves_nothing_behind(tmp_path, capsys):
    one = shard(tmp_path / "one", "a.x")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "results.jsonl").write_text("")
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("mine")
    for words, sentence in (
        ((one,), "needs --out"),
        ((one, tmp_path / "none", "--out", tmp_path / "all"), "is no run"),
        ((one, empty, "--out", tmp_path / "all"), "has no result: leave it out"),
        ((one, "--out", full), "not empty"),
    ):
        code, told = merge(capsys, *words)
        assert code == 2
        assert sentence in told.err
    assert not (tmp_path / "all").exists()
    assert [file.name for file in full.iterdir()] == ["file"]


def test_a_truncated_shard_is_merged_and_said(tmp_path, capsys):
    one, two = shard(tmp_path / "one", "a.x"), shard(tmp_path / "two", "a.y")
    results = two / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-40])
    _, told = merge(capsys, one, two, "--out", tmp_path / "all")
    assert "two: results.jsonl, line" in " ".join(told.out.split())
    assert "is cut off" in " ".join(told.out.split())


def test_what_a_link_leads_to_is_not_taken_along(tmp_path, capsys):
    secret = tmp_path / "secret"
    secret.write_text("x")
    one = shard(tmp_path / "one", "a.x")
    (one / "logs/link").symlink_to(secret)
    merge(capsys, one, "--out", tmp_path / "all")
    assert not (tmp_path / "all/one/logs/link").exists()
