"""Truth table of messages sent and arrived: one row for each ordered pair of devices. Does no IO."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Arrival", "MessageKind", "Payload", "Sent", "TruthTable", "TruthTableRow", "tabulate"]

LAYOUT = struct.Struct("!8sBBI")
FILLING = bytes(range(251))


class MessageKind(IntEnum):
    """Purpose of a message. Only `NUMBERED` ones are counted."""

    WARM_UP = 0
    NUMBERED = 1
    LAST = 2
    AWAY = 3
    """Sent while its receiver had left: nobody keeps it for later."""


@dataclass(frozen=True)
class Payload:
    """Message content: 8 bytes that are the same in one run only, sender, kind, number. 14 bytes, and a filling."""

    run: bytes
    sender: int
    kind: MessageKind
    sequence: int

    def encode(self, size: int = LAYOUT.size) -> bytes:
        """`size` bytes, at least 14; those behind the first 14 follow from their number."""
        return LAYOUT.pack(self.run, self.sender, self.kind, self.sequence) + _filling(size - LAYOUT.size)

    @classmethod
    def decode(cls, data: bytes) -> Payload | None:
        """None for bytes that no harness has sent, or that changed on the way."""
        if data[LAYOUT.size :] != _filling(len(data) - LAYOUT.size):
            return None
        try:
            run, sender, kind, sequence = LAYOUT.unpack_from(data)
            return cls(run, sender, MessageKind(kind), sequence)
        except (struct.error, ValueError):
            return None


@dataclass(frozen=True)
class Sent:
    """A numbered message that was handed to core; unix seconds."""

    sender: str
    sequence: int
    time: float


@dataclass(frozen=True)
class Arrival:
    """A numbered message that core reported; unix seconds."""

    receiver: str
    sender: str
    sequence: int
    time: float


@dataclass(frozen=True)
class TruthTableRow:
    """One row: what a sender sent and what a receiver got of it."""

    sender: str
    receiver: str
    sent: int
    delivered: int
    """Different messages that arrived at least once."""
    duplicates: int
    """Arrivals beyond the first of each message."""
    out_of_order: int
    """First arrivals after a message that was sent later."""
    never_sent: int
    """Arrivals of numbers that were not sent."""
    missing: tuple[int, ...]
    """Numbers that did not arrive."""
    latencies: tuple[float, ...]
    """Seconds from handing to core to core's event, first arrivals in order of arrival."""

    longest_silence: float = 0.0
    """Seconds, at most, between two first arrivals."""

    @property
    def is_complete(self) -> bool:
        """Everything arrived once, and nothing else did."""
        return self.delivered == self.sent and not (self.duplicates or self.never_sent)

    @property
    def is_right(self) -> bool:
        """Everything arrived once, in order, and nothing else did."""
        return self.is_complete and not self.out_of_order

    def __str__(self) -> str:
        faults = [f"{self.delivered} of {self.sent} delivered"]
        if self.missing:
            faults.append(f"missing {_some(self.missing)}")
        for count, name in (
            (self.duplicates, "duplicates"),
            (self.out_of_order, "out of order"),
            (self.never_sent, "never sent"),
        ):
            if count:
                faults.append(f"{count} {name}")
        return f"{self.sender} -> {self.receiver}: {', '.join(faults)}"


@dataclass(frozen=True)
class TruthTable:
    """All rows of one exchange."""

    directions: tuple[TruthTableRow, ...]

    def between(self, sender: str, receiver: str) -> TruthTableRow:
        return next(each for each in self.directions if (each.sender, each.receiver) == (sender, receiver))

    @property
    def all_right(self) -> bool:
        """Every row is right, and there was something to be right about."""
        return bool(self.directions) and all(each.is_right and each.sent for each in self.directions)

    @property
    def complete(self) -> bool:
        """As `all_right`, in any order: with more than two devices, a message may take a longer way than the next."""
        return bool(self.directions) and all(each.is_complete and each.sent for each in self.directions)

    @property
    def lost(self) -> int:
        """Messages that did not arrive, in all directions."""
        return sum(each.sent - each.delivered for each in self.directions)

    @property
    def longest_silence(self) -> float:
        """Seconds, of the direction that was silent longest."""
        return max((each.longest_silence for each in self.directions), default=0.0)

    def without(self, *names: str) -> TruthTable:
        """The table of the others: without the rows and columns of these devices."""
        return TruthTable(
            tuple(each for each in self.directions if not {each.sender, each.receiver} & set(names))
        )

    def grid(self) -> str:
        """The table as N lines of N cells, senders down and receivers across.

        A cell is what was delivered, `5/10` if that is not all; `+1` duplicates, `~2` out of order, `?1` never sent.
        """
        names = list(dict.fromkeys(each.sender for each in self.directions))
        rows = [["from \\ to", *names]]
        for sender in names:
            cells = ("." if sender == name else _cell(self.between(sender, name)) for name in names)
            rows.append([sender, *cells])
        widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
        return "\n".join(
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
        )

    def __str__(self) -> str:
        return "; ".join(str(each) for each in self.directions)


def tabulate(names: Sequence[str], sent: Iterable[Sent], arrivals: Iterable[Arrival]) -> TruthTable:
    """The table of an exchange between devices with these names. `arrivals` are in order of arrival."""
    sent = list(sent)
    arrivals = list(arrivals)
    return TruthTable(
        tuple(
            _direction(
                sender,
                receiver,
                {each.sequence: each.time for each in sent if each.sender == sender},
                [each for each in arrivals if (each.sender, each.receiver) == (sender, receiver)],
            )
            for sender in names
            for receiver in names
            if sender != receiver
        )
    )


def _direction(sender: str, receiver: str, sent: dict[int, float], arrivals: list[Arrival]) -> TruthTableRow:
    latencies: list[float] = []
    seen: set[int] = set()
    times: list[float] = []
    duplicates = out_of_order = never_sent = 0
    for arrival in arrivals:
        if arrival.sequence not in sent:
            never_sent += 1
        elif arrival.sequence in seen:
            duplicates += 1
        else:
            out_of_order += bool(seen) and arrival.sequence < max(seen)
            seen.add(arrival.sequence)
            latencies.append(arrival.time - sent[arrival.sequence])
            times.append(arrival.time)
    return TruthTableRow(
        sender=sender,
        receiver=receiver,
        sent=len(sent),
        delivered=len(seen),
        duplicates=duplicates,
        out_of_order=out_of_order,
        never_sent=never_sent,
        missing=tuple(sorted(sent.keys() - seen)),
        latencies=tuple(latencies),
        longest_silence=max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0),
    )


def _cell(row: TruthTableRow) -> str:
    text = str(row.delivered) if row.delivered == row.sent else f"{row.delivered}/{row.sent}"
    marks = (("+", row.duplicates), ("~", row.out_of_order), ("?", row.never_sent))
    return text + "".join(f"{mark}{count}" for mark, count in marks if count)


def _filling(size: int) -> bytes:
    """`size` bytes whose period is no power of two, so that a lost or doubled block shows."""
    return (FILLING * (size // len(FILLING) + 1))[: max(size, 0)]


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:5])
    return f"{shown}, ..." if len(numbers) > 5 else shown
