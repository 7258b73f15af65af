"""Records and what is rendered from them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from harness.checks.catalogue import all_checks

from harness.report.junit import render_junit
from harness.report.records import Record, Verdict, evidence, read_records
from harness.report.redaction import REDACTED, Redactor
from harness.report.run import Run, new_run_directory
from harness.report.summary import counts, render_markdown
from harness.report.swarms import NETWORKS, render_networks

PASSED = Record(
    run="r",
    check="mail.idle",
    verdict=Verdict.PASSED,
    time=1.0,
    duration=0.5,
    target="t",
    requirements=("MAIL-3",),
)
FAILED = replace(
    PASSED, check="mail.policy", verdict=Verdict.FAILED, reason="it was accepted", notes=("one host",)
)
SKIPPED = replace(PASSED, check="calls.relayed", verdict=Verdict.UNSUPPORTED, reason="t has no turn")
ERROR = replace(PASSED, check="mail.odd", verdict=Verdict.UNDECIDED, reason="we crashed on \x00\x1b[31m")
ALL = [PASSED, FAILED, SKIPPED, ERROR]


def test_a_record_survives_the_file(tmp_path):
    run = Run(new_run_directory(tmp_path))
    for record in ALL:
        run.add(record)
    assert list(read_records(run.directory / "results.jsonl")) == ALL == run.records


def test_a_bad_line_is_named(tmp_path):
    file = tmp_path / "results.jsonl"
    file.write_text(PASSED.to_json() + "\n{}\n")
    with pytest.raises(ValueError, match=r"results\.jsonl:2 is not a record"):
        list(read_records(file))


def test_two_runs_of_one_second_have_two_directories(tmp_path):
    assert len({new_run_directory(tmp_path) for _ in range(5)}) == 5


def test_junit_counts_each_kind_and_keeps_the_reason():
    [suite] = ET.fromstring(render_junit("run", ALL))
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    [failure] = suite.iter("failure")
    [error] = suite.iter("error")
    assert failure.get("message") == "it was accepted"
    assert "we crashed on" in str(error.get("message"))
    assert [case.get("classname") for case in suite.iter("testcase")] == ["mail", "mail", "calls", "mail"]


def test_markdown_says_what_is_wrong_and_what_to_know():
    text = render_markdown("run", ALL)
    assert "1 passed, 1 failed, 1 unsupported, 1 error." in text
    assert "- **mail.policy**: it was accepted" in text
    assert "- **mail.policy**: one host" in text


def test_reports_show_which_way_the_bytes_took():
    """Phase by phase, in the words of the record; a run without any path says nothing of paths."""
    records = [
        PASSED,
        replace(PASSED, check="calls.relayed", paths={"joining": "none", "media": "relayed(turn)"}),
    ]
    text = render_markdown("run", records)
    assert "| calls.relayed | joining | none |\n| calls.relayed | media | relayed(turn) |\n" in text
    assert "## Paths" not in render_markdown("run", ALL)
    properties = {
        each.get("name"): each.get("value")
        for each in ET.fromstring(render_junit("run", records)).iter("property")
    }
    assert (properties["path: joining"], properties["path: media"]) == ("none", "relayed(turn)")


def test_markdown_begins_with_what_the_machine_can_do(tmp_path):
    run = Run(new_run_directory(tmp_path), machine=["lab: level loopback", "lab: without netem"])
    run.finish()
    text = (run.directory / "report.md").read_text()
    assert "- lab: level loopback\n- lab: without netem\n\n| check |" in text


def test_nothing_ran_is_said():
    assert counts([]) == "nothing ran"


def test_evidence_is_named_relative_and_with_its_digest(tmp_path):
    (tmp_path / "logs").mkdir()
    file = tmp_path / "logs" / "core.log"
    file.write_bytes(b"abc")
    found = evidence(file, tmp_path)
    assert (found.path, found.sha256[:8]) == ("logs/core.log", "ba7816bf")


@pytest.mark.parametrize(
    "text",
    [
        "password s3cr3t+pass word used",
        "dclogin:a@b?p=s3cr3t%2Bpass%20word&v=1",
        '"dclogin:a@b?v=1&p=unknown-to-us&ih=x"',
    ],
)
def test_secrets_are_taken_out_in_every_form(text):
    redacted = Redactor(["s3cr3t+pass word"]).text(text)
    assert REDACTED in redacted
    assert "s3cr3t" not in redacted
    assert "unknown-to-us" not in redacted


def test_a_run_directory_keeps_no_secret(tmp_path):
    run = Run(new_run_directory(tmp_path), Redactor(["correct horse battery"]))
    (run.logs / "core.log").write_bytes(b"\xff\x00 login correct horse battery \xfe")
    run.add(replace(FAILED, reason="login with correct horse battery was accepted"))
    run.finish()
    files = [file for file in run.directory.rglob("*") if file.is_file()]
    assert {file.name for file in files} == {"core.log", "results.jsonl", "junit.xml", "report.md"}
    assert not [file for file in files if b"correct horse" in file.read_bytes()]
    assert (run.logs / "core.log").read_bytes().startswith(b"\xff\x00 login ")


def test_a_secret_too_short_to_redact_is_refused():
    with pytest.raises(ValueError, match="fewer than 8"):
        Redactor().add("secret")


def test_swarms_are_shown_as_tables():
    messages = {
        "table": ["from \\ to  a  b", "      a  .  5"],
        "latency_ms_median": 1.5,
        "latency_ms_max": 9.0,
    }
    text = render_markdown(
        "run", [replace(PASSED, check="swarms.x", measurements={"messages": messages}), PASSED]
    )
    assert "## Swarms\n\n```\nswarms.x (1.5 ms, 9.0 ms at most)\nfrom \\ to  a  b\n      a  .  5\n" in text
    assert "## Swarms" not in render_markdown("run", [PASSED])


def test_the_way_between_networks_is_a_table_read_both_ways():
    paths = {
        "home with home, joining": "mixed(direct 80%, relay 20%)",
        "home with home, established": "direct",
        "home with mobile, established": "relayed(relay)",
    }
    found = render_networks([replace(PASSED, check=NETWORKS, paths=paths), PASSED])
    assert found.splitlines() == [
        "        home     mobile",
        "home    direct   relayed",
        "mobile  relayed",
    ]
    assert NETWORKS in {check.name for check in all_checks()}
    assert render_networks([PASSED]) == ""
