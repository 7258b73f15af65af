"""The page of a run: everything is on it, nothing executes, and nothing of others is markup."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.report.html import Files, render_html
from harness.report.must import KnownRed, Must, MustList
from harness.report.observations import CallDirection, CallPhases, CallSeen, MatrixCell, Measured
from harness.report.promises import PROMISES
from harness.report.reading import Unreadable, files_of, read_run, read_runs
from harness.report.records import Evidence, Record, Verdict
from harness.report.run import Run, new_run_directory
from harness.report.standing import State, standings
from harness.report.summary import Decision, summary

from .records import (
    EVERY_VERDICT,
    EVERYTHING,
    FAILED,
    HEAD_OF_RUN,
    LAB,
    NOT_REACHED,
    PASSED,
    RELAYED,
    SKIPPED,
    UNDECIDED,
    UNSUPPORTED,
)

HOSTILE = (
    "\x1b]0;x\x07</style></title><script>alert(1)</script><img src=x onerror=alert(1)> "
    "javascript:alert(1) \" onmouseover='x' {{ 7*7 }} \u202eabc \u0634\u0628\u0643\u0629"
)
ALL = len(PROMISES)
VOID = {"meta", "br", "img", "input", "link"}


class Page(HTMLParser):
    """Elements of a page with their attributes, and the text of those that a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, attribute: str) -> list[str]:
        return [str(found[attribute]) for _, found in self.elements if attribute in found]


def test_everything_is_on_the_page():
    page = Page(render_html("a run", EVERYTHING))
    assert page.open == []
    for name, promise in PROMISES.items():
        assert name in page.text
        assert promise.sentence in page.text
        assert promise.meaning in page.text
    for record in [*EVERY_VERDICT, LAB]:
        assert record.check in page.text
    for words in (
        "RELEASE OK",
        "1 of 1 musts hold; none is broken.",
        "it was accepted",
        "apt-get install nftables",
        "250 to EXISTS, longest 0.012 s (limit 2 s)",
        "relayed: first audio 314 ms",
        "home to mobile, media: relayed(turn)",
        "counters at the edges = agents; nothing went elsewhere",
        "latency of messages, median and longest",
        "lab: level root",
        "up to 2 accounts were left on t",
    ):
        assert words in page.text, words


def test_every_link_leads_somewhere():
    page = Page(render_html("a run", EVERYTHING))
    names = page.all("id")
    assert len(names) == len(set(names))
    inner = [href for href in page.all("href") if href.startswith("#")]
    assert inner
    assert [href for href in inner if href[1:] not in names] == []
    assert [href for href in page.all("href") if not href.startswith("#")] == ["./logs/alice.log"] * 2


def test_a_page_asks_nobody_for_anything_and_executes_nothing():
    text = render_html("a run", EVERYTHING)
    page = Page(text)
    assert {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "form"} == set()
    assert [name for _, found in page.elements for name in found if name.startswith("on")] == []
    assert page.all("style") == page.all("src") == []
    assert "url(" not in text and "@import" not in text
    [policy] = [found["content"] for _, found in page.elements if found.get("http-equiv")]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'", str(policy)
    )


def test_nothing_of_others_is_markup():
    call = CallSeen(
        HOSTILE,
        CallPhases(offer_ms=1.0),
        directions=(CallDirection(HOSTILE, HOSTILE, 1, 1, 1, 0, delay_course_ms=(1.0, 2.0)),),
    )
    record = replace(
        FAILED,
        run=HOSTILE,
        check=HOSTILE,
        target=HOSTILE,
        reason=HOSTILE,
        notes=(HOSTILE,),
        observations=(call, Measured(HOSTILE, HOSTILE), replace(RELAYED, subject=HOSTILE)),
        clients={HOSTILE: HOSTILE},
        server={HOSTILE: HOSTILE},
        evidence=(Evidence(HOSTILE, "00"),),
    )
    text = render_html(HOSTILE, [record], [HOSTILE])
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.elements} & {"script", "img"} == set()
    assert {name for _, found in page.elements for name in found if name.startswith("on")} == set()
    assert {each for each in text if not each.isprintable()} == {"\n"}
    assert "\u0634\u0628\u0643\u0629" in page.text
    assert "{{ 7*7 }}" in page.text
    assert [href for href in page.all("href") if not href.startswith(("#", "./"))] == []


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "javascript:alert(1)", "//evil.example/x"]
)
def test_a_link_to_evidence_stays_below_the_run(path):
    href = Files({"r": "runs/one/"}).href("r", path)
    assert href.startswith("./runs/one/")
    assert ".." not in href and ":" not in href and "//" not in href


def test_what_is_missing_is_no_link(tmp_path):
    run = Run(new_run_directory(tmp_path))
    run.logs.joinpath("alice.log").write_text("hello")
    run.add(LAB, [run.logs / "alice.log"])
    run.finish()
    whole = read_run(run.directory)
    assert whole.problems == ()
    (run.logs / "alice.log").unlink()
    found = read_run(run.directory)
    assert found.problems == ("evidence that records name is missing: logs/alice.log",)
    page = Page(render_html("x", found.records, found.problems, files_of([found], tmp_path / "page.html")))
    assert [href for href in page.all("href") if not href.startswith("#")] == []
    assert "missing" in page.text


def test_a_swarm_is_a_grid_as_wide_as_the_page():
    many = replace(RELAYED, devices=tuple(replace(RELAYED.devices[0], name=f"device {n}") for n in range(5)))
    page = Page(render_html("x", [replace(LAB, observations=(RELAYED, many))]))
    assert [found.get("class") for tag, found in page.elements if tag == "figure"] == [None, "wide"]
    assert [tag for tag, _ in page.elements].count("svg") == 1


def test_a_page_that_is_written_elsewhere_leads_to_the_files(tmp_path):
    run = Run(new_run_directory(tmp_path / "runs"))
    run.logs.joinpath("alice bob#1.log").write_text("hello")
    run.add(replace(LAB, run=run.name), [run.logs / "alice bob#1.log"])
    found = read_run(run.directory)
    page = tmp_path / "pages" / "page.html"
    page.parent.mkdir()
    hrefs = {
        each
        for each in Page(render_html("x", found.records, (), files_of([found], page))).all("href")
        if each.startswith("./")
    }
    [href] = hrefs
    assert href == f"./../runs/{run.name}/logs/alice%20bob%231.log"


def test_the_page_of_500_cells_is_small_and_quick():
    cells = tuple(
        MatrixCell("call", f"network {one}", f"network {other}", "relayed", "relayed", legs=2)
        for one in range(25)
        for other in range(20)
    )
    calls = tuple(
        CallSeen(f"network {cell.first} with {cell.second}", CallPhases(1, 2, 3, 4, 5, 6), "relayed")
        for cell in cells
    )
    path = tuple(replace(RELAYED, subject=f"{cell.first} with {cell.second}") for cell in cells)
    records = [
        replace(LAB, check=f"calls.cell_{n}", observations=(cells[n], calls[n], path[n])) for n in range(500)
    ]
    began = time.process_time()
    text = render_html("500", [HEAD_OF_RUN, *records])
    assert len(text.encode()) < 5_000_000
    assert time.process_time() - began < 10


# What decides


def every_promise(verdict: Verdict, **changed: Record) -> list[Record]:
    return [
        changed.get(
            name.replace("-", "_"), replace(PASSED, check=f"c.{name}", verdict=verdict, requirements=(name,))
        )
        for name in PROMISES
    ]


def test_a_run_in_which_every_promise_holds_is_ok():
    found = summary(every_promise(Verdict.PASSED))
    assert found.decision is Decision.OK
    assert found.sentence == f"{ALL} of {ALL} promises hold. Nothing was found wrong."
    assert found.groups == (
        ("discovery", 7, 7),
        ("mail", 4, 4),
        ("federation", 4, 4),
        ("TURN", 11, 11),
        ("iroh relay", 11, 11),
        ("suite", 10, 10),
    )


@pytest.mark.parametrize("record", [SKIPPED, UNSUPPORTED, UNDECIDED, NOT_REACHED])
def test_a_promise_that_is_not_judged_is_no_release_and_nothing_wrong(record):
    found = summary(every_promise(Verdict.PASSED, TURN_10=replace(record, requirements=("TURN-10",))))
    assert found.decision is Decision.NO_VERDICT
    assert found.sentence.startswith(f"{ALL - 1} of {ALL} promises hold, 1 ")
    assert found.sentence.endswith(" Nothing was found wrong.")
    [each] = found.not_judged
    assert each.name == "TURN-10"
    assert each.reasons == (record.reason,)


def test_a_failure_decides_also_without_a_promise():
    found = summary([*every_promise(Verdict.PASSED), replace(FAILED, requirements=())])
    assert found.decision is Decision.NOT_OK
    assert found.sentence == f"{ALL} of {ALL} promises hold. 1 check failed."


def test_a_run_without_a_result_is_no_verdict():
    found = summary([])
    assert found.decision is Decision.NO_VERDICT
    assert found.sentence == (
        f"no check has a result: no verdict. 0 of {ALL} promises hold, {ALL} not run. Nothing was found wrong."
    )
    assert found.counts == "nothing ran"
    assert Page(render_html("empty", [])).open == []


def test_an_interrupted_run_is_no_verdict_whatever_was_green():
    planned = [replace(PASSED, check="mail.next", verdict=Verdict.NOT_RUN, requirements=())]
    found = summary([*planned, *every_promise(Verdict.PASSED)])
    assert found.decision is Decision.NO_VERDICT
    assert found.sentence.startswith(
        f"not ended, or killed, after {ALL} of {ALL + 1}: no verdict. {ALL} of {ALL} promises hold"
    )
    text = Page(render_html("x", [*planned, *every_promise(Verdict.PASSED)])).text
    assert "RELEASE OK" not in text
    assert f"after {ALL} of {ALL + 1}" in text


def test_a_must_list_alone_decides():
    musts = MustList(
        "must.toml",
        (
            Must("MAIL-3", ("mail.idle",)),
            Must("TURN-10", ("c.TURN-10",)),
            Must("capability turns", ("turn.turns",), where_possible=True),
        ),
        (KnownRed("c.TURN-10", "carla", "1971-01-01"),),
    )
    head = replace(HEAD_OF_RUN, observations=(musts,))
    red = replace(FAILED, check="c.TURN-10", requirements=("TURN-10",), reason="one second of silence")
    records = [head, PASSED, red, replace(UNSUPPORTED, check="turn.turns", requirements=())]
    found = summary(records)
    assert found.decision is Decision.OK
    assert found.sentence == "1 of 2 musts hold, 1 known red, 1 that this server does not have."
    assert (found.counted, found.groups) == ("must", (("mail", 1, 1), ("TURN", 0, 1)))
    [point] = found.known_reds
    assert "carla answers for it until 1971-01-01" in point.reasons[0]
    text = Page(render_html("x", records)).text
    assert "RELEASE OK" in text and point.reasons[0] in text
    assert summary([head, PASSED]).decision is Decision.NO_VERDICT


def test_musts_that_are_checks_are_counted_by_room():
    musts = (
        Must("mail.idle", ("mail.idle",)),
        Must("tls.x", ("tls.x",)),
        Must("capability turn", ("turn.x",)),
    )
    head = replace(HEAD_OF_RUN, observations=(MustList("must.toml", musts),))
    assert summary([head, PASSED]).groups == (("mail", 1, 1), ("tls", 0, 1), ("capabilities", 0, 1))


def test_a_promise_holds_only_if_all_its_checks_do():
    states = {each.id: each for each in standings(EVERYTHING)}
    assert states["MAIL-3"].state is State.BROKEN
    assert states["MAIL-3"].passed == 2
    assert states["DISC-1"].reasons == ("no check of this run proves it",)
    mixed = [PASSED, UNSUPPORTED]
    assert {each.id: each.state for each in standings(mixed)}["MAIL-3"] is State.HOLDS
    assert {each.id: each.state for each in standings([UNSUPPORTED])}["MAIL-3"] is State.UNSUPPORTED
    assert {each.id: each.state for each in standings([PASSED, SKIPPED])}["MAIL-3"] is State.NOT_RUN


# Runs as they lie there


def test_what_is_no_run_is_said_in_a_sentence(tmp_path):
    with pytest.raises(Unreadable, match=r"is no run: results\.jsonl cannot be read"):
        read_run(tmp_path)
    with pytest.raises(Unreadable, match="is given twice"):
        (tmp_path / "results.jsonl").write_text("")
        read_runs([tmp_path, Path(f"{tmp_path}/")])


def test_a_run_without_a_result_says_so(tmp_path):
    (tmp_path / "results.jsonl").write_text("")
    assert read_run(tmp_path).problems == (f"{tmp_path} has no result",)


def test_evidence_outside_of_the_run_is_missing(tmp_path):
    outside = tmp_path / "secret"
    outside.write_text("x")
    run = tmp_path / "run"
    run.mkdir()
    record = replace(PASSED, evidence=(Evidence("../secret", "00"), Evidence("a\0b", "00")))
    (run / "results.jsonl").write_text(record.to_json() + "\n")
    assert {path for _, path in read_run(run).missing} == {"../secret", "a\0b"}


def test_the_proof_tells_contradictions_from_paths_that_nobody_else_saw():
    paths = [
        replace(RELAYED, subject=verdict, verdict=verdict)
        for verdict in ("relayed", "direct", "disagreement", "not proven", "not proven")
    ]
    proof = summary([replace(PASSED, observations=tuple(paths))]).proof
    assert (
        "witnesses agree on 2 of them, contradict each other on 1, 2 had no witness outside the clients"
        in proof
    )
    assert (
        "witnesses agree on 1 of them; foreign" in summary([replace(PASSED, observations=(RELAYED,))]).proof
    )
