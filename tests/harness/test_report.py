"""Reports are pure functions of records: Markdown, JUnit and the terminal say the same."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from harness.report.findings import counts, findings
from harness.report.junit import render_junit
from harness.report.markdown import render_markdown
from harness.report.matrix import matrix
from harness.report.observations import (
    MachineSeen,
    MatrixCell,
    Measured,
    SwarmDirection,
    SwarmSeen,
    Unrecognised,
)
from harness.report.promises import PROMISES
from harness.report.records import Verdict
from harness.report.run import Run, new_run_directory
from harness.report.tables import Table, escaped
from harness.report.terminal import render_check, render_end

from .records import (
    CELLS,
    EVERY_VERDICT,
    EVERYTHING,
    FAILED,
    HEAD_OF_RUN,
    LAB,
    NOT_REACHED,
    PASSED,
    SKIPPED,
    UNSUPPORTED,
)

ALL_COUNTED = "1 passed, 1 failed, 1 skipped, 1 unsupported, 1 not reached, 1 undecided"


def section(markdown: str, title: str) -> list[str]:
    """The lines below a heading that say something."""
    _, _, rest = markdown.partition(f"## {title}\n")
    return [line for line in rest.partition("\n## ")[0].splitlines() if line]


def test_the_counts_are_those_of_checks_alone():
    assert counts(EVERY_VERDICT) == counts([HEAD_OF_RUN, *EVERY_VERDICT]) == ALL_COUNTED
    assert counts([]) == counts([HEAD_OF_RUN]) == "nothing ran"


def test_only_failures_are_wrong_and_what_they_explain_stands_below_them():
    text = render_markdown("run", EVERY_VERDICT)
    assert section(text, "What is wrong") == [
        "- **mail.policy**: it was accepted",
        "  - not reached because of it: mail.late",
    ]
    assert section(text, "Undecided") == ["- **mail.odd**: we crashed on \ufffd\ufffd\\[31m"]
    assert section(text, "Left out") == [
        "- **calls.relayed**: t has no turn",
        "- **swarms.cut**: nft is missing: apt-get install nftables",
    ]
    assert "## Not reached" not in text


@pytest.mark.parametrize("render", [render_end, lambda records: render_markdown("run", records)])
def test_a_cause_that_is_known_comes_with_what_to_change(render):
    known = render([replace(FAILED, cause="turn.relay_ports_closed")])
    assert "turn.relay_ports_closed" in known
    assert "dport 49152-65535 accept" in " ".join(known.split())
    assert "what to change" not in render([FAILED])
    assert "what to change" not in render([replace(FAILED, cause="turn.named_by_a_newer_version")])


def test_without_its_cause_a_check_that_was_not_reached_stands_by_itself():
    text = render_markdown("run", [PASSED, NOT_REACHED])
    assert section(text, "Not reached") == ["- **mail.late**: mail.policy failed before: it was accepted"]


def test_one_missing_capability_is_told_once():
    others = [replace(SKIPPED, check=f"swarms.x{number}") for number in range(3)]
    [finding] = findings([SKIPPED, *others])["Left out"]
    assert finding.checks == ("swarms.cut", "swarms.x0", "swarms.x1", "swarms.x2")


def test_a_run_in_which_nothing_is_wrong_has_no_such_section():
    assert findings([PASSED]) == {}
    assert "## What is wrong" not in render_markdown("run", [PASSED])


def test_junit_counts_each_kind_and_keeps_the_reason():
    [suite] = ET.fromstring(render_junit("run", [HEAD_OF_RUN, *EVERY_VERDICT]))
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["6", "1", "1", "3"]
    [failure], [error] = list(suite.iter("failure")), list(suite.iter("error"))
    assert failure.get("message") == "it was accepted"
    assert error.get("message") == "we crashed on \ufffd\ufffd[31m"
    skipped = [each.get("message") for each in suite.iter("skipped")]
    assert skipped == [
        "unsupported: t has no turn",
        "skipped: nft is missing: apt-get install nftables",
        "not reached: mail.policy failed before: it was accepted",
    ]
    names = [f"{case.get('classname')}.{case.get('name')}" for case in suite.iter("testcase")]
    assert names == [each.check for each in EVERY_VERDICT]
    assert suite.get("timestamp") == "1970-01-01T00:00:01"


def test_junit_has_what_viewers_of_others_show():
    head = replace(HEAD_OF_RUN, observations=(MachineSeen(hostname="runner 7"),))
    failed = replace(FAILED, cause="turn.secret_differs", evidence=LAB.evidence)
    root = ET.fromstring(render_junit("run", [head, PASSED, failed]))
    [suite] = root
    assert (suite.get("hostname"), suite.get("timestamp")) == ("runner 7", "1970-01-01T00:00:01")
    for each in (root, suite):
        assert [each.get(name) for name in ("name", "tests", "failures", "time")] == [
            "run",
            "2",
            "1",
            "1.000",
        ]
    assert suite[0].tag == "properties"
    decided = {each.get("name"): each.get("value") for each in suite[0]}
    assert str(decided["RELEASE NOT OK"]).startswith(
        f"0 of {len(PROMISES)} promises hold, 1 broken, {len(PROMISES) - 1} not run. 1 check failed."
    )
    [failure] = root.iter("failure")
    body = (failure.text or "").splitlines()
    assert failure.get("message") == body[0] == "it was accepted"
    assert body[1] == "What to do (cause turn.secret_differs):"
    assert body[2].startswith("- ")
    assert "Note: one host" in body
    assert "Promise MAIL-3: IDLE reports new mail at once." in body
    assert body[-1] == "Evidence: logs/alice.log"


def test_junit_says_who_took_part_where_and_which_way():
    [suite] = ET.fromstring(render_junit("run", EVERYTHING))
    [case] = [each for each in suite.iter("testcase") if each.get("name") == "calls_take_the_expected_path"]
    found = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert found["path: home to mobile, media"] == "relayed(turn)"
    assert (found["network: bob"], found["client: bob"]) == ("mobile", "core 2.50.0")
    assert (found["server: coturn"], found["seed"]) == ("coturn 4.6.1", "5")
    assert found["evidence"] == "logs/alice.log"
    output = case.find("system-out")
    assert output is not None
    assert "CALLS FROM NETWORK TO NETWORK" in str(output.text)


def test_markdown_says_who_took_part_where_and_which_way():
    text = render_markdown("run", EVERYTHING)
    assert "- server: coturn 4.6.1, reference dc-harness 0.1.0\n" in text
    assert "- clients: core 2.50.0, core 2.65.0\n" in text
    assert "- lab: level root\n" in text
    assert f"| {LAB.check} | bob | core 2.50.0 | mobile |" in section(text, "Devices")
    assert "| home to mobile, media | relayed(turn) | counters at the edges, agents |" in text
    assert "- **mail.policy**: one host" in section(text, "What to know")
    assert any("seed 5" in line for line in section(text, "What to know"))


def test_every_number_is_in_the_report():
    text = render_markdown("run", EVERYTHING)
    for row in (
        "| 250 to EXISTS | 2 | 0.008 | 0.012 | 2.000 |",
        "| turn.t.example, NXDOMAIN | nowhere | 0.01 | nothing | it leads nowhere |",
        "| 5 % loss | 200 ms, 5.0% lost, seed 5 | 12 | - |",
        "| mail: alice and mail, IPv6 | 1,200 | 3,400 |",
        "| TURN credentials are valid for | 86400 s |",
        "| STUN answers | yes |",
        "| METADATA | /shared/vendor/deltachat/turn |",
        "| clock | +0.2 s from ours |",
        "| certificates | mail (t.example, by R3, until 2033-05-18) |",
    ):
        assert row in text
    assert "up to 2 accounts were left on t." in text


def test_what_a_newer_version_saw_is_shown_as_it_stands():
    text = render_markdown(
        "run", [replace(PASSED, observations=(Unrecognised("hologram", 3, {"depth_m": 7}),))]
    )
    assert "| hologram, version 3 | depth_m 7 |" in section(text, "Seen by another version")


def test_what_could_not_be_read_is_in_every_report():
    problem = "results.jsonl, line 2, the last, is cut off"
    assert section(render_markdown("run", [PASSED], [problem]), "Could not be read") == [f"- {problem}"]
    assert f"COULD NOT BE READ\n- {problem}" in render_end([PASSED], [problem])


def test_the_report_of_a_run_has_the_machine(tmp_path):
    run = Run(new_run_directory(tmp_path))
    run.begin(MachineSeen(("lab: level loopback", "lab: without netem")))
    run.finish()
    text = (run.directory / "report.md").read_text()
    assert "nothing ran.\n\n- lab: level loopback\n- lab: without netem\n\n" in text


# Grids


def test_the_matrix_shows_what_is_not_as_expected():
    calls, realtime = matrix([LAB, PASSED])
    lines = calls.text().splitlines()
    rows = {
        line.split("  ")[0]: [each.strip() for each in line.split("  ")[1:] if each] for line in lines[3:7]
    }
    assert lines[2] == LAB.check
    assert rows == {
        "from \\ to": ["home", "mobile"],
        "home": ["direct", "relayed, one leg"],
        "mobile": ["!mixed, both legs"],
        "only 443": ["none [relayed]", "none [!none]"],
    }
    assert realtime.text().splitlines()[3:6] == [
        "        home     mobile",
        "home    direct   !direct",
        "mobile  !direct",
    ]
    assert list(matrix([PASSED])) == []


def test_a_large_matrix_fits_a_terminal():
    names = [f"network number {each}" for each in range(1, 12)]
    cells = [
        MatrixCell("call", one, other, "relayed", "none" if one == other else "relayed", legs=2)
        for one in names
        for other in names
    ]
    [section] = matrix([replace(PASSED, observations=tuple(cells))])
    lines = section.text().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[3].startswith("across: 1 network number 1, 2 network number 2")
    first = next(line for line in lines if line.startswith("network number 1 "))
    assert first.split()[3:] == ["!-2", *["R2"] * 10]
    assert "R2" not in section.markdown()
    assert section.markdown().count("relayed, both legs") == 110


def test_swarms_are_shown_as_grids():
    text = render_markdown("run", [LAB, PASSED])
    assert section(text, "Swarms")[:5] == [
        f"**{LAB.check}: established (1.5 ms, 9.0 ms at most, silent for 0.25 s at most)**",
        "| from \\\\ to | alice | bob |",
        "| --- | --- | --- |",
        "| alice | . | 9/10\\~2 |",
        "| bob | 10+1 | . |",
    ]
    assert "## Swarms" not in render_markdown("run", [PASSED])


def test_ten_devices_of_a_swarm_fit_a_terminal():
    names = [f"device{each}" for each in range(10)]
    ways = tuple(SwarmDirection(one, two, 10, 10) for one in names for two in names if one != two)
    text = render_end([replace(PASSED, observations=(SwarmSeen("all", ways),))])
    assert max(map(len, text.splitlines())) <= 80
    assert sum(line.count(" 10") for line in text.splitlines() if line.startswith("device")) == 90


# Terminal


def test_the_end_of_a_run_has_the_culprit_behind_all_tables_and_the_counts_last():
    lines = render_end(EVERYTHING).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-3] == "2 passed, 1 failed, 1 skipped, 1 unsupported, 1 not reached, 1 undecided."
    assert lines[-1] == "RELEASE OK: 1 of 1 musts hold; none is broken."
    assert (
        lines.index("CALLS")
        < lines.index("LEFT OUT")
        < lines.index("UNDECIDED")
        < lines.index("WHAT IS WRONG")
    )
    at = lines.index("WHAT IS WRONG")
    assert lines[at + 1 : at + 4] == [
        "- mail.policy",
        "    it was accepted",
        "    not reached because of it: mail.late",
    ]


def test_a_check_that_ended_is_a_line_and_what_a_reader_must_know():
    lines = render_check(replace(LAB, notes=("word " * 40,))).splitlines()
    assert lines[0].split() == ["passed", LAB.check, "0.50", "s"]
    assert lines[1:3] == [
        f"{'':12}alice in home, bob in mobile",
        f"{'':12}path: home to mobile, media: relayed(turn)",
    ]
    assert lines[3].startswith(f"{'':12}note: word word")
    assert max(map(len, lines)) <= 80
    assert f"{'':12}it was accepted" in render_check(FAILED)
    sick = render_check(replace(FAILED, cause="relay.port_closed"))
    assert f"{'':12}cause relay.port_closed; what to change: " in sick
    assert max(map(len, sick.splitlines())) <= 80


HOSTILE = "\x1b]0;x\x07 <img src=x onerror=alert(1)> | `code` [click](http://evil.example) @team #1 \u202eabc\n# top"


@pytest.mark.parametrize("render", [render_end, lambda records: render_check(records[0])])
def test_no_text_of_a_server_does_anything_to_a_terminal(render):
    record = replace(FAILED, reason=HOSTILE, notes=(HOSTILE,), observations=(Measured(HOSTILE, HOSTILE),))
    shown = render([replace(record, check=HOSTILE, profiles={HOSTILE: HOSTILE})])
    assert {each for each in shown if not each.isprintable()} <= {"\n"}


def test_no_text_of_a_server_is_markup():
    record = replace(FAILED, reason=HOSTILE, notes=(HOSTILE,), observations=(Measured(HOSTILE, HOSTILE),))
    text = render_markdown(HOSTILE, [replace(record, clients={"alice": HOSTILE})], [HOSTILE])
    for markup in ("<img", "[click]", "http://", "\n# top", "@team", " #1", " `code`"):
        assert markup not in text.replace("\\" + markup.strip(), "")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "img" in line]
    assert len(rows) == 3
    assert sorted(line.replace("\\|", "").count("|") for line in rows) == [3, 5, 6]
    ET.fromstring(render_junit(HOSTILE, [record]))


def test_escaped_text_says_what_it_said():
    assert escaped("calls_paths: _a_|b <c> & *d*") == "calls_paths: \\_a\\_\\|b \\<c\\> &amp; \\*d\\*"


def test_a_table_is_wrapped_where_it_is_too_wide():
    table = Table(["what", "n", "why"], [["heading"], ["a short one", "7", "word " * 30]], frozenset({"n"}))
    lines = table.text(60).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[1] == "heading"
    assert lines[2].startswith("a short one 7  word word")
    assert len(lines) > 4
    assert " ".join(lines).count("word") == 30


def test_grids_of_two_kinds_do_not_mix():
    only_realtime = replace(PASSED, observations=tuple(each for each in CELLS if each.medium == "realtime"))
    [found] = matrix([only_realtime])
    assert found.title == "Realtime data between networks"
    assert Verdict.PASSED.value not in found.text()
    assert UNSUPPORTED.reason not in found.text()


def test_the_head_says_what_was_looked_up_and_is_no_check():
    text = render_markdown("run", [HEAD_OF_RUN, PASSED])
    assert "- dc-harness 0.1.0\n- lab: level root\n" in text
    assert section(text, "Server")[:3] == [
        "| what | looked up before any check |",
        "| --- | --- |",
        "| server | t |",
    ]
    assert len(section(text, "Checks")) == 3
    assert (
        render_end([replace(HEAD_OF_RUN, notes=("t offers no TURN",)), PASSED])
        == "t offers no TURN\n\n1 passed."
    )
