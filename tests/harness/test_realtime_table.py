import itertools
import random

from harness.clients.core.core import CoreEvent
from harness.realtime.inbox import Inbox
from harness.realtime.table import Arrival, MessageKind, Payload, Sent, TruthTable, tabulate

NAMES = ("alice", "bob")
RUN = b"this run"


def a_perfect_run(count: int = 10) -> tuple[list[Sent], list[Arrival]]:
    sent = [Sent(name, number, 100 + number) for number in range(count) for name in NAMES]
    other = {"alice": "bob", "bob": "alice"}
    return sent, [Arrival(other[each.sender], each.sender, each.sequence, each.time + 0.5) for each in sent]


def test_a_perfect_run_is_right_in_every_direction():
    sent, arrived = a_perfect_run()
    table = tabulate(NAMES, sent, arrived)
    assert table.all_right
    row = table.between("alice", "bob")
    assert (row.sent, row.delivered, row.duplicates, row.out_of_order, row.missing) == (10, 10, 0, 0, ())
    assert row.latencies == (0.5,) * 10
    assert str(table) == "alice -> bob: 10 of 10 delivered; bob -> alice: 10 of 10 delivered"


def test_each_removed_arrival_is_missed():
    sent, arrived = a_perfect_run()
    for lost in range(len(arrived)):
        table = tabulate(NAMES, sent, arrived[:lost] + arrived[lost + 1 :])
        assert not table.all_right
        gone = arrived[lost]
        row = table.between(gone.sender, gone.receiver)
        assert (row.delivered, row.missing) == (9, (gone.sequence,))
        assert str(row) == f"{gone.sender} -> {gone.receiver}: 9 of 10 delivered, missing {gone.sequence}"
        assert table.between(gone.receiver, gone.sender).is_right


def test_each_doubled_arrival_is_a_duplicate_wherever_it_comes():
    sent, arrived = a_perfect_run()
    for doubled in range(len(arrived)):
        for position in (doubled, len(arrived)):
            again = arrived[doubled]
            table = tabulate(NAMES, sent, [*arrived[:position], again, *arrived[position:]])
            row = table.between(again.sender, again.receiver)
            assert (row.delivered, row.duplicates, row.out_of_order) == (10, 1, 0)
            assert not table.all_right


def test_order_counts_only_late_first_arrivals():
    sent, arrived = a_perfect_run(4)
    swapped = [arrived[4], arrived[2], arrived[0], arrived[6], *arrived[1::2]]
    row = tabulate(NAMES, sent, swapped).between("alice", "bob")
    assert (row.delivered, row.out_of_order, row.is_right) == (4, 2, False)


def test_an_arrival_that_nobody_sent_is_no_delivery():
    sent, arrived = a_perfect_run(2)
    table = tabulate(NAMES, sent, [*arrived, Arrival("bob", "alice", 77, 1.0)])
    assert str(table.between("alice", "bob")) == "alice -> bob: 2 of 2 delivered, 1 never sent"
    assert not table.all_right


def test_nothing_at_all_is_not_right():
    assert not tabulate(NAMES, [], []).all_right
    assert not tabulate((), [], []).all_right


def test_three_devices_make_six_rows():
    table = tabulate(("a", "b", "c"), [Sent("a", 0, 1.0)], [Arrival("b", "a", 0, 1.0)])
    assert len(table.directions) == 6
    assert table.between("a", "b").is_right
    assert table.between("a", "c").missing == (0,)


def test_payloads_survive_the_channel():
    payload = Payload(RUN, 1, MessageKind.NUMBERED, 4_000_000_000)
    assert Payload.decode(payload.encode()) == payload
    assert len(payload.encode()) == 14


def test_bytes_of_others_are_no_payload():
    good = Payload(RUN, 0, MessageKind.NUMBERED, 1).encode()
    randomness = random.Random(15)
    for data in (
        b"",
        b"Hello Iroh P2P",
        good[:-1],
        good + b"x",
        good[:9] + b"\xff" + good[10:],
        randomness.randbytes(14),
    ):
        payload = Payload.decode(data)
        assert payload is None or payload.run != RUN


def test_only_numbered_messages_of_this_run_are_counted():
    def event(data: bytes) -> CoreEvent:
        return CoreEvent(5.0, "WebxdcRealtimeData", {"msg_id": 12, "data": data})

    events = [
        event(Payload(RUN, 0, MessageKind.WARM_UP, 0).encode()),
        event(Payload(b"other ru", 0, MessageKind.NUMBERED, 0).encode()),
        event(b"Hello Iroh P2P"),
        event(Payload(RUN, 9, MessageKind.NUMBERED, 0).encode()),
        event(Payload(RUN, 0, MessageKind.NUMBERED, 3).encode()),
    ]
    inbox = Inbox("bob", NAMES, RUN)
    inbox.take(events)
    assert inbox.arrivals(MessageKind.NUMBERED) == [Arrival("bob", "alice", 3, 5.0)]
    assert inbox.has_all("alice", [3])
    assert not inbox.has_all("alice", [3, 4])
    assert (inbox.heard("alice", MessageKind.NUMBERED, 3), inbox.heard("alice", MessageKind.NUMBERED, 4)) == (
        True,
        False,
    )
    assert not inbox.heard("bob", MessageKind.NUMBERED, 0)


def test_any_order_is_complete_but_not_right():
    sent, arrived = a_perfect_run(4)
    backwards = tabulate(NAMES, sent, arrived[::-1])
    assert (backwards.complete, backwards.all_right) == (True, False)
    assert not tabulate(NAMES, sent, arrived[1:]).complete
    assert not tabulate(NAMES, sent, [*arrived, arrived[0]]).complete


def test_a_large_message_counts_only_as_it_was_sent():
    payload = Payload(RUN, 1, MessageKind.NUMBERED, 7)
    data = payload.encode(130_964)
    assert len(data) == 130_964
    assert Payload.decode(data) == payload
    for damaged in (data[:-300] + data[-299:], data[:5000] + b"?" + data[5001:], data[:200] + data[456:]):
        assert Payload.decode(damaged) is None
    assert len(payload.encode()) == 14


def a_perfect_swarm(names: tuple[str, ...], count: int = 3) -> tuple[list[Sent], list[Arrival]]:
    sent = [Sent(name, number, 100 + number) for number in range(count) for name in names]
    return sent, [
        Arrival(receiver, each.sender, each.sequence, each.time + 0.5)
        for each in sent
        for receiver in names
        if receiver != each.sender
    ]


def changed_cells(before: TruthTable, after: TruthTable) -> set[tuple[str, str]]:
    return {
        (was.sender, was.receiver)
        for was, now in zip(before.directions, after.directions, strict=True)
        if was != now
    }


def test_a_pair_that_is_removed_changes_exactly_its_cell():
    names = ("a", "b", "c", "d")
    sent, arrived = a_perfect_swarm(names)
    right = tabulate(names, sent, arrived)
    for pair in itertools.permutations(names, 2):
        rest = [each for each in arrived if (each.sender, each.receiver) != pair]
        table = tabulate(names, sent, rest)
        assert changed_cells(right, table) == {pair}
        assert (table.lost, table.complete) == (3, False)


def test_a_member_that_hears_everything_twice_changes_exactly_its_column():
    names = ("a", "b", "c", "d")
    sent, arrived = a_perfect_swarm(names)
    doubled = [*arrived, *(each for each in arrived if each.receiver == "c")]
    table = tabulate(names, sent, doubled)
    assert changed_cells(tabulate(names, sent, arrived), table) == {("a", "c"), ("b", "c"), ("d", "c")}
    assert (table.lost, table.complete) == (0, False)


def test_without_a_member_its_row_and_column_are_gone():
    names = ("a", "b", "c")
    sent, arrived = a_perfect_swarm(names)
    isolated = tabulate(names, sent, [each for each in arrived if "b" not in (each.sender, each.receiver)])
    assert not isolated.complete
    others = isolated.without("b")
    assert others.all_right
    assert [(each.sender, each.receiver) for each in others.directions] == [("a", "c"), ("c", "a")]


def test_the_grid_shows_who_heard_whom_and_what_is_wrong():
    names = ("a", "b")
    sent = [Sent(name, number, 1.0) for name in names for number in range(10)]
    arrived = [Arrival("b", "a", number, 2.0) for number in (1, 0, 2, 2)]
    arrived += [Arrival("a", "b", number, 2.0) for number in range(11)]
    assert tabulate(names, sent, arrived).grid().splitlines() == [
        "from \\ to     a         b",
        "        a     .  3/10+1~1",
        "        b  10?1         .",
    ]


def test_the_longest_silence_is_that_of_the_worst_direction():
    sent = [Sent(name, number, 1.0) for name in NAMES for number in range(3)]
    arrived = [Arrival("bob", "alice", number, time) for number, time in enumerate((1.0, 1.5, 4.0))]
    arrived += [Arrival("alice", "bob", number, 1.0 + number) for number in range(3)]
    assert tabulate(NAMES, sent, arrived).longest_silence == 2.5


def test_events_that_were_taken_are_not_looked_at_again():
    inbox = Inbox("bob", NAMES, RUN)
    event = CoreEvent(5.0, "WebxdcRealtimeData", {"data": Payload(RUN, 0, MessageKind.NUMBERED, 0).encode()})
    inbox.take([event])
    inbox.take([])
    assert len(inbox.arrivals(MessageKind.NUMBERED)) == 1
    inbox.take([event])
    assert len(inbox.arrivals(MessageKind.NUMBERED)) == 2
