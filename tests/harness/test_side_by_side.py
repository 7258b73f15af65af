"""Checks side by side find the same as one after the other, whatever becomes of a worker."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.doors.catalogue import all_checks
from harness.doors.cli import main
from harness.doors.display import Plain
from harness.doors.schedule import Schedule
from harness.doors.side_by_side import LOST, NoServer, SideBySide
from harness.doors.workers import Began, Ended, Event, Lost, Refused, Secret, Worker
from harness.report.plan import checks
from harness.report.records import Record, Verdict, read_results
from harness.report.run import RESULTS, Run
from harness.stage.check import CHECKS
from harness.stage.outcome import Outcome

from .records import PASSED

CHOSEN = (
    "mail.*",
    "turn.turn_is_offered",
    "turn.turn_grants*",
    "turn.turn_has*",
    "turn.turns_*",
    "relay.relay_adm*",
)


def found(directory: Path, *options: str) -> list[tuple[str, Verdict, str, str]]:
    main(["check", *CHOSEN, "--out", str(directory), *options])
    results = checks(read_results(directory / RESULTS).records)
    return [(each.check, each.verdict, each.because_of, each.cause) for each in results]


@pytest.mark.parametrize("server", ["reference", "mutant=turn_other_secret"])
def test_the_verdicts_are_the_same_in_the_same_order(tmp_path, server):
    one = found(tmp_path / "one", "--server", server, "--jobs", "1")
    assert found(tmp_path / "three", "--server", server, "--jobs", "3") == one
    verdicts = {verdict for _, verdict, *_ in one}
    assert verdicts == (
        {Verdict.PASSED} if server == "reference" else {Verdict.PASSED, Verdict.FAILED, Verdict.NOT_REACHED}
    )


class Scripted:
    """A worker that says for each check what it is told to say."""

    def __init__(self, script: Mapping[str, Event], run: Run, first: Event) -> None:
        self.pipe, self._there = multiprocessing.Pipe()
        self.check: str | None = None
        self.before: dict[str, Mapping[str, Outcome]] = {}
        self.ended = ""
        self._script, self._run = script, run
        self._there.send(first)

    def run(self, check: str, before: Mapping[str, Outcome]) -> None:
        self.check = check
        self.before[check] = before
        said = self._script.get(check)
        self._there.send(said or ended(self._run, check))

    def event(self, _within: float | None = None) -> Event:
        return self.pipe.recv() if self.pipe.poll() else Lost()

    def dismiss(self) -> None:
        self.ended = self.ended or "dismissed"

    def interrupt(self) -> None:
        self.ended = "interrupted"

    def close(self, _within: float) -> None:
        self.pipe.close()


class Stubborn(Scripted):
    """It does not end: its pipe stays open, and says nothing more."""

    def event(self, within: float | None = None) -> Event:
        if self.pipe.poll():
            return super().event()
        assert within is not None, "nobody waits for it for ever"
        self._waited = within
        return Lost()

    def close(self, within: float) -> None:
        assert within <= self._waited, "one that did not end in time gets no more of it"
        super().close(within)


def ended(run: Run, check: str, verdict: Verdict = Verdict.PASSED, *reasons: str) -> Ended:
    record = replace(PASSED, run=run.name, check=check, verdict=verdict, reason="; ".join(reasons))
    return Ended(record.to_json(), Outcome(verdict, list(reasons), cause="turn.not_answering"))


class Crew:
    """Scripted workers, and what came of them."""

    def __init__(
        self, directory: Path, names: tuple[str, ...], script: dict[str, Event], *, jobs: int = 2
    ) -> None:
        all_checks()
        self.run = Run(directory / "run")
        self.workers: list[Scripted] = []
        self.kind: type[Scripted] = Scripted
        self.script = script
        self.first: list[Event] = []
        chosen = [CHECKS[name] for name in names]
        self.run.plan(((each.name, each.requirements) for each in chosen), target="t")
        schedule = Schedule(chosen, processors=4)
        self.side_by_side = SideBySide(schedule, self.run, Plain(len(names), jobs), self.start, jobs)

    def start(self, number: int) -> Worker:
        head = Began(self.run.head(target=f"server {number}").to_json())
        self.workers.append(self.kind(self.script, self.run, self.first[number] if self.first else head))
        return cast(Worker, self.workers[-1])

    def results(self) -> list[Record]:
        return checks(read_results(self.run.directory / RESULTS).records)


ALLOCATES, GRANTS = "turn.turn_allocates_with_offered_credentials", "turn.turn_grants_an_allocation"


def test_one_head_stands_for_all_servers_and_what_was_found_before_is_told(tmp_path):
    crew = Crew(tmp_path, (ALLOCATES, GRANTS), {})
    crew.script[GRANTS] = ended(crew.run, GRANTS, Verdict.FAILED, "it is dead", "and gone")
    crew.side_by_side.go()
    heads = [each for each in crew.run.records if each.is_head]
    assert len(heads) == 1
    [before] = [each.before[ALLOCATES] for each in crew.workers if ALLOCATES in each.before]
    assert before[GRANTS].reasons == ["it is dead", "and gone"]
    assert before[GRANTS].cause == "turn.not_answering"
    assert {each.ended for each in crew.workers} == {"dismissed"}


def test_one_cause_is_red_once_whichever_worker_met_it(tmp_path):
    names = ("turn.turn_refuses_wrong_credentials", "turn.turn_enforces_permissions")
    crew = Crew(tmp_path, names, {})
    for name in names:
        crew.script[name] = ended(crew.run, name, Verdict.FAILED, "nothing listens")
    crew.side_by_side.go()
    first, second = sorted(crew.results(), key=lambda each: each.verdict is not Verdict.FAILED)
    assert (first.verdict, second.verdict) == (Verdict.FAILED, Verdict.NOT_REACHED)
    assert second.because_of == first.check
    assert second.reason == f"{first.check} failed before, for the same cause: nothing listens"


def test_a_worker_that_is_lost_leaves_an_undecided_check_and_the_others_go_on(tmp_path):
    names = ("mail.idle_reports_new_mail", "mail.mailboxes_are_private", "mail.unencrypted_mail_is_refused")
    crew = Crew(tmp_path, names, {names[0]: Lost()}, jobs=1)
    crew.side_by_side.go()
    by_name = {each.check: each for each in crew.results()}
    assert [by_name[name].verdict for name in names] == [Verdict.UNDECIDED, Verdict.PASSED, Verdict.PASSED]
    assert by_name[names[0]].reason == LOST
    assert len(crew.workers) == 2


def test_without_any_server_nothing_runs(tmp_path):
    crew = Crew(tmp_path, (GRANTS,), {})
    crew.first = [Refused("the server did not start", 1)] * 2
    with pytest.raises(NoServer, match="did not start") as none:
        crew.side_by_side.go()
    assert none.value.exit_code == 1
    assert [each.verdict for each in crew.results()] == [Verdict.NOT_RUN]


def test_a_server_that_does_not_start_beside_one_that_does_is_no_reason_to_stop(tmp_path):
    crew = Crew(tmp_path, (GRANTS,), {})
    crew.first = [Refused("no port is free", 1), Began(crew.run.head(target="t").to_json())]
    crew.side_by_side.go()
    assert [each.verdict for each in crew.results()] == [Verdict.PASSED]


def test_whatever_ends_a_run_ends_its_workers_and_their_secrets_are_known(tmp_path, monkeypatch):
    crew = Crew(tmp_path, (GRANTS,), {})

    def broken(_record: Any) -> None:
        crew.workers[0]._there.send(Secret("secret-of-a-worker"))
        raise ZeroDivisionError

    monkeypatch.setattr(crew.side_by_side.watcher, "ended", broken)
    with pytest.raises(ZeroDivisionError):
        crew.side_by_side.go()
    assert {each.ended for each in crew.workers} == {"interrupted"}
    assert all(each.pipe.closed for each in crew.workers)
    assert "secret-of-a-worker" in crew.run.redactor.secrets


def test_workers_that_do_not_end_are_not_waited_for_for_ever(tmp_path):
    crew = Crew(tmp_path, ("tls.certificates_are_trusted",), {})
    crew.kind = Stubborn
    crew.side_by_side.go()
    assert [each.verdict for each in crew.results()] == [Verdict.PASSED]
