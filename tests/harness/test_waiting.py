import threading

import pytest

from harness.waiting import Deadline, WaitTimeout, wait_until


def test_the_value_of_the_condition_is_returned():
    answers = iter([None, 0, "here"])
    assert wait_until(lambda: next(answers), "an answer", within=5) == "here"


def test_a_timeout_says_what_how_long_and_what_was_seen():
    with pytest.raises(WaitTimeout) as failure:
        wait_until(lambda: False, "a mail to arrive", within=0.02, seen=lambda: "2 other mails")
    assert str(failure.value) == "waited 0.02 s for a mail to arrive; seen instead: 2 other mails"


def test_a_condition_is_looked_at_once_even_without_time():
    assert wait_until(lambda: 1, "nothing", within=0) == 1


def test_whoever_notifies_wakes_the_waiter():
    changed = threading.Condition()
    events: list[str] = []
    looks = []

    def condition():
        looks.append(len(events))
        return events

    def pump():
        with changed:
            events.append("event")
            changed.notify_all()

    with changed:  # the pump cannot run before the waiter waits
        thread = threading.Thread(target=pump)
        thread.start()
        assert wait_until(condition, "an event", within=30, woken_by=changed) == ["event"]
    thread.join()
    assert looks == [0, 1]


def test_an_exception_of_the_condition_ends_the_wait_at_once():
    def died():
        raise RuntimeError("the process died")

    with pytest.raises(RuntimeError, match="died"):
        wait_until(died, "an event", within=60, woken_by=threading.Condition())


def test_a_deadline_is_never_negative():
    deadline = Deadline(0)
    assert deadline.over
    assert deadline.remaining() == 0
