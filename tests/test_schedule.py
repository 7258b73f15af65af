"""Workers get the tests in pieces, the longest first, and few calls at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from .schedule import Schedule, rank

GUEST, ADD = "tests/test_guest.py::test_a", "tests/test_add_a.py::test_b"
CALL, OTHER_CALL = "scenarios/test_calls.py::test_one", "scenarios/test_calls.py::test_two"
AGENT = "tests/harness/calls/test_agent.py"
KILL = "tests/mutants/test_kills.py::test_kill[deaf-mail.idle]"
PLAIN = "tests/harness/test_text.py"


def schedule(workers: int) -> Schedule:
    config: Any = SimpleNamespace(option=SimpleNamespace(), getvalue=lambda _name: ["popen"] * workers)
    return Schedule(config, cast(Any, SimpleNamespace(loadscopesched=None)))


def pieces(workers, *nodeids):
    found = schedule(workers)
    return [found._split_scope(each) for each in nodeids]


def test_files_that_share_what_takes_long_are_one_piece():
    assert len(set(pieces(4, GUEST, ADD))) == 1
    assert len(set(pieces(4, f"{PLAIN}::test_a", f"{PLAIN}::test_b[3]"))) == 1


def test_kills_and_scenarios_are_pieces_of_their_own():
    assert pieces(4, KILL, "scenarios/test_mail.py::test_one") == [KILL, "scenarios/test_mail.py::test_one"]


def test_there_are_never_as_many_calls_as_workers():
    calls = [f"scenarios/test_calls.py::test_{number}" for number in range(20)]
    assert len(set(pieces(4, *calls))) == 3
    assert len(set(pieces(1, *calls))) == 1


def test_a_piece_stays_one_however_often_it_is_asked_for():
    found = schedule(4)
    first = [found._split_scope(each) for each in (CALL, OTHER_CALL, f"{AGENT}::test_a")]
    assert [found._split_scope(each) for each in (CALL, OTHER_CALL, f"{AGENT}::test_b")] == first


def test_the_longest_begin():
    swarm, text = "scenarios/test_swarms.py::test_one", f"{PLAIN}::test_a"
    assert sorted([KILL, swarm, text, CALL, GUEST], key=rank) == [GUEST, CALL, text, swarm, KILL]
