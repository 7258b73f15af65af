"""Lines of results.jsonl: written, described by a schema, and read back as far as they can be understood."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from harness.report.observations import KINDS, CallSeen, Measured, Unrecognised
from harness.report.records import SCHEMA, Record, Verdict, evidence, read_results
from harness.report.redaction import REDACTED, Redactor
from harness.report.run import LONGEST_TEXT, Run, new_run_directory
from harness.report.seal import verify

from .records import EVERYTHING, FAILED, LAB, PASSED, SCHEMA_FILE, expect_to_keep_to_the_schema

EXAMPLE = Path(__file__).parents[2] / "reports" / "example" / "results.jsonl"


def written(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "results.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def changed(record: Record, **fields) -> str:
    return json.dumps(json.loads(record.to_json()) | fields)


def test_every_kind_of_observation_survives_the_file(tmp_path):
    assert {type(each) for record in EVERYTHING for each in record.observations} == set(KINDS.values())
    file = written(tmp_path, *(record.to_json() for record in EVERYTHING))
    read = read_results(file)
    assert list(read.records) == EVERYTHING
    assert read.problems == ()


def test_a_line_can_be_read_without_this_program():
    """What decides stands first, kinds and units are in the line."""
    line = LAB.to_json()
    assert line.startswith(f'{{"schema": {SCHEMA}, "run": "r", "check": "calls_paths.')
    plain = json.loads(line)
    [path] = [each for each in plain["observations"] if each["kind"] == "path"]
    assert (path["name"], path["verdict"], path["by"]) == ("relayed(turn)", "relayed", ["turn"])
    [call, _] = [each for each in plain["observations"] if each["kind"] == "call"]
    assert call["phases"]["ring_ms"] == 94.5
    assert call["directions"][0]["lost"] == 1
    assert plain["server"] == {"reference": "dc-harness 0.1.0", "coturn": "coturn 4.6.1"}
    assert (plain["profiles"], plain["seed"]) == ({"alice": "home", "bob": "mobile"}, 5)


def test_the_schema_in_the_package_is_that_of_the_classes():
    made = subprocess.run(
        [sys.executable, "-m", "harness.report.schema"], capture_output=True, text=True, check=True
    ).stdout
    assert SCHEMA_FILE.read_text() == made, (
        "python -m harness.report.schema > harness/report/results.schema.json"
    )


def test_every_record_keeps_to_the_schema_and_it_says_what_fields_mean(tmp_path):
    expect_to_keep_to_the_schema(written(tmp_path, *(record.to_json() for record in EVERYTHING)))
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    lost = schema["$defs"]["CallDirection"]["properties"]["lost"]
    assert lost["description"] == "RTP packets whose sequence numbers are missing at the receiver."


@pytest.mark.parametrize(
    "broken",
    [
        {"verdict": "fine"},
        {"duration": "long"},
        {"observations": [{"kind": "measured", "version": 1, "name": "no value"}]},
        {"observations": [{"name": "no kind"}]},
    ],
)
def test_the_schema_refuses_what_is_no_record(broken):
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    assert not validator.is_valid(json.loads(changed(LAB, **broken)))


def test_a_run_that_was_cut_off_loses_its_last_line_and_says_so(tmp_path):
    file = written(tmp_path, PASSED.to_json(), FAILED.to_json())
    file.write_bytes(file.read_bytes()[:-40])
    read = read_results(file)
    assert read.records == (PASSED,)
    assert read.problems == (
        "results.jsonl, line 2, the last, is cut off: the run was interrupted while it wrote, and one result is "
        "missing",
    )


def test_a_last_line_without_its_end_is_whole(tmp_path):
    file = written(tmp_path, PASSED.to_json(), FAILED.to_json())
    file.write_bytes(file.read_bytes().rstrip())
    assert (read_results(file).records, read_results(file).problems) == ((PASSED, FAILED), ())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{}", "missing required field `run`"),
        ("[1, 2]", "Expected `object`, got `array`"),
        ("PASS tests/test_x.py", "malformed"),
        ("\x00\x01", "malformed"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        (changed(PASSED, verdict="fine"), "Invalid enum value 'fine' - at `$.verdict`"),
        (changed(PASSED, observations=[3]), "Expected `object`, got `int`"),
    ],
)
def test_lines_of_others_are_named_and_the_rest_is_read(tmp_path, line, why):
    read = read_results(written(tmp_path, PASSED.to_json(), line, "", FAILED.to_json()))
    assert read.records == (PASSED, FAILED)
    [problem] = read.problems
    assert problem.startswith("results.jsonl, line 2, is no result of dc-harness and was left out: ")
    assert why in problem


def test_a_newer_record_is_shown_as_far_as_it_is_understood(tmp_path):
    plain = json.loads(LAB.to_json())["observations"]
    call = next(each for each in plain if each["kind"] == "call")
    newer = [
        call | {"version": 2, "codec": "opus"},
        {"kind": "hologram", "version": 1, "depth_m": 3},
        {"kind": "measured", "version": 9, "number": "has another shape"},
    ]
    line = changed(LAB, schema=SCHEMA + 1, mood="good", observations=newer)
    read = read_results(written(tmp_path, line))
    [record] = read.records
    assert record.check == LAB.check
    assert record.seen(CallSeen) == [LAB.seen(CallSeen)[0]]
    assert record.seen(Unrecognised) == [
        Unrecognised("call", 2, {"codec": "opus"}),
        Unrecognised("hologram", 1, {"depth_m": 3}),
        Unrecognised("measured", 9, {"number": "has another shape"}),
    ]
    assert read.problems == (
        "results.jsonl, line 1, was written by a newer version of dc-harness and is shown as far as this one "
        "understands it; not shown: mood",
    )
    assert Record.from_json(record.to_json()) == record


def test_an_older_record_says_what_is_not_shown(tmp_path):
    older = json.loads(PASSED.to_json()) | {"profile": "home"}
    del older["schema"], older["observations"]
    read = read_results(written(tmp_path, json.dumps(older)))
    assert read.records == (PASSED,)
    [problem] = read.problems
    assert problem.endswith(
        "an older version of dc-harness and is shown as far as this one understands it; not shown: profile"
    )


def test_the_results_of_the_example_can_be_read():
    """Whichever version wrote them."""
    read = read_results(EXAMPLE)
    assert len(read.records) == len(EXAMPLE.read_text().splitlines()) > 40
    assert read.problems == ()
    assert Verdict.FAILED not in {record.verdict for record in read.records}
    assert verify(EXAMPLE.parent).faults == ()


def test_two_runs_of_one_second_have_two_directories(tmp_path):
    assert len({new_run_directory(tmp_path) for _ in range(5)}) == 5


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
    observed = Measured("TURN says", "not for correct horse battery")
    run.add(replace(FAILED, reason="login with correct horse battery was accepted", observations=(observed,)))
    run.finish()
    files = [file for file in run.directory.rglob("*") if file.is_file()]
    assert {file.name for file in files} == {
        "core.log",
        "results.jsonl",
        "junit.xml",
        "report.md",
        "report.html",
        "summary.md",
        "manifest.sha256",
    }
    assert not [file for file in files if b"correct horse" in file.read_bytes()]
    assert (run.logs / "core.log").read_bytes().startswith(b"\xff\x00 login ")


@pytest.mark.parametrize(
    "secret", ['quo"ted\\pass', "no\u00a0break-pass", "tab\tbed-password", "requirements"]
)
def test_odd_passwords_are_kept_out_and_break_no_record(tmp_path, secret):
    run = Run(new_run_directory(tmp_path), Redactor([secret]))
    log = run.logs / "agent.log"
    log.write_text(json.dumps({"password": secret}))
    reason = f"{secret} was refused, {'x' * LONGEST_TEXT} {secret}"
    run.add(replace(FAILED, reason=reason, notes=(secret,)), [log])
    run.finish()
    read = read_results(run.directory / "results.jsonl")
    assert read.problems == ()
    [record] = read.records
    assert record.notes == (REDACTED,)
    assert record.reason.startswith(f"{REDACTED} was refused, xxx")
    assert len(record.reason) < LONGEST_TEXT + 50
    assert json.loads(log.read_text()) == {"password": REDACTED}


def test_a_secret_too_short_to_redact_is_refused():
    with pytest.raises(ValueError, match="fewer than 8"):
        Redactor().add("secret")


def test_text_of_others_is_clean_in_the_file(tmp_path):
    run = Run(new_run_directory(tmp_path))
    run.add(replace(FAILED, reason="banner \x1b[31m", observations=(Measured("a\x00", "\u202e"),)))
    text = (run.directory / "results.jsonl").read_text()
    assert [each for each in text if not each.isprintable()] == ["\n"]
