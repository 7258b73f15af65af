"""Messages that one device of a swarm heard of the others. Each event is decoded once, however often somebody looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..clients.core.core import CoreEvent
from .table import Arrival, MessageKind, Payload

__all__ = ["Inbox"]


class Inbox:
    """The messages of one run that arrived at `receiver`; `names` are the members by their numbers."""

    def __init__(self, receiver: str, names: Sequence[str], run: bytes) -> None:
        self._receiver = receiver
        self._names = names
        self._run = run
        self._arrivals: dict[MessageKind, list[Arrival]] = defaultdict(list)
        self._newest: dict[tuple[MessageKind, str], int] = {}
        self._numbers: dict[str, set[int]] = defaultdict(set)

    def take(self, events: Iterable[CoreEvent]) -> None:
        """Realtime events that are new; what is no message of this run is left out."""
        for event in events:
            payload = Payload.decode(event["data"])
            if payload is None or payload.run != self._run or payload.sender >= len(self._names):
                continue
            sender = self._names[payload.sender]
            self._arrivals[payload.kind].append(Arrival(self._receiver, sender, payload.sequence, event.time))
            key = payload.kind, sender
            self._newest[key] = max(self._newest.get(key, -1), payload.sequence)
            if payload.kind is MessageKind.NUMBERED:
                self._numbers[sender].add(payload.sequence)

    def arrivals(self, kind: MessageKind) -> Sequence[Arrival]:
        """In order of arrival."""
        return self._arrivals[kind]

    def heard(self, sender: str, kind: MessageKind, number: int) -> bool:
        """True if a message of this kind came with this number or a later one."""
        return self._newest.get((kind, sender), -1) >= number

    def has_all(self, sender: str, numbers: Iterable[int]) -> bool:
        """True if each of these numbered messages came."""
        return self._numbers[sender].issuperset(numbers)
