"""Counts of one process's clients: everything that they sent and got, and what of it is still on its way."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import Any, NamedTuple

from ..errors import plain
from ..text import clean
from .results import Carried, MissingMessage, WorkerCounts

__all__ = ["CARRIED", "OnItsWay", "Totals", "totals"]

CARRIED = ("messages", "media", "frames")
MOST_COMPLAINTS, LONGEST = 20, 200
"""Different sentences, and characters of one."""
MOST_MISSING = 50
"""Messages of one process that are named; all are counted."""


class OnItsWay(NamedTuple):
    """A message that was submitted."""

    submitted: float
    """Monotonic seconds."""
    size: int
    message_id: str
    recipient: str
    accepted: bool = False
    """The server has answered 250."""


class Totals:
    """Everything that the clients of this process sent and got."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.messages, self.media, self.frames = Carried(), Carried(), Carried()
        self.offers: set[str] = set()
        self.clients = 0
        """That are here now."""
        self.most_clients = 0
        self.accounts_by = self.began
        """Monotonic seconds at which the last account was there; those of the first and the last message follow."""
        self.sent_from: float | None = None
        self.sent_until = self.began
        self.stalled = 0.0
        """Longest time, in seconds, for which this process did nothing although it had to."""
        self.complaints: Counter[tuple[str, str]] = Counter()
        self.at_work = 0
        """Steps that clients are in the middle of."""
        self.on_their_way: dict[str, OnItsWay] = {}
        """By their markers."""
        self.looked: set[str] = set()
        """Addresses whose mailbox was looked into at the end, because nothing came any more."""
        self.has_looked = False
        """Into all that something is missing from."""
        self.found: set[str] = set()
        """Markers of messages that were found there, and that IDLE had not told of."""
        self.arrived: set[str] = set()
        self.addresses: list[str] = []

    def came(self) -> None:
        """One more client is here."""
        self.clients += 1
        self.most_clients = max(self.most_clients, self.clients)

    def has_account(self, address: str) -> None:
        """A client is logged in everywhere."""
        self.addresses.append(address)
        self.accounts_by = time.monotonic()

    def message_sent(self, marker: str, size: int) -> None:
        """The server has taken a message, which may have arrived already."""
        self.messages.add({"sent": 1, "bytes_sent": size})
        if (sent := self.on_their_way.get(marker)) is not None:
            self.on_their_way[marker] = sent._replace(accepted=True)
        self.sent_until = time.monotonic()
        self.sent_from = self.sent_from or self.sent_until

    def message_arrived(self, marker: str) -> OnItsWay | None:
        """What is known of a message; None for one that came before, or that nobody here sent."""
        if marker in self.arrived:
            if marker not in self.found:
                self.messages.doubled += 1
            self.found.discard(marker)
            return None
        if (sent := self.on_their_way.pop(marker, None)) is None:
            return None
        self.arrived.add(marker)
        self.messages.add({"arrived": 1, "bytes_arrived": sent.size})
        return sent

    def message_found(self, marker: str) -> None:
        """It lies in its mailbox; whoever waits there may still be told of it."""
        if marker in self.on_their_way:
            self.message_arrived(marker)
            self.found.add(marker)

    def missing(self) -> list[MissingMessage]:
        """Messages that were answered with 250 and have not arrived, the oldest first."""
        return [
            MissingMessage(
                each.message_id, round(each.submitted - self.began, 1), each.recipient in self.looked
            )
            for each in self.on_their_way.values()
            if each.accepted
        ]

    def remember(self, service: str, error: Exception, secret: str) -> str:
        """Count a sentence on a step that failed, and return it: without the password, which a server may repeat."""
        said = plain(error)
        sentence = clean(said.replace(secret, "...") if secret else said)[:LONGEST]
        if (service, sentence) in self.complaints or len(self.complaints) < MOST_COMPLAINTS:
            self.complaints[service, sentence] += 1
        return sentence

    def as_data(self) -> dict[str, Any]:
        """As it goes from a worker to its master."""
        return {
            **{name: vars(getattr(self, name)) for name in CARRIED},
            "offers": sorted(self.offers),
            "stalled": self.stalled,
            "at_work": self.at_work,
            "has_looked": self.has_looked,
            "untold": len(self.found),
            "awaited": len(self.on_their_way),
            "missing": self.missing()[:MOST_MISSING],
            "not_there": sum(each.looked_for for each in self.missing()),
            "itself": asdict(self.of_itself()),
            "complaints": [[*sentence, number] for sentence, number in self.complaints.items()],
        }

    def of_itself(self) -> WorkerCounts:
        """What this process did."""
        return WorkerCounts(
            users=self.most_clients,
            accounts=len(self.addresses),
            account_seconds=round(max(0.0, self.accounts_by - self.began), 3),
            messages_sent=self.messages.sent,
            send_seconds=round(self.sent_until - (self.sent_from or self.sent_until), 3),
            seconds=round(time.monotonic() - self.began, 3),
            complaints=tuple(
                f"{service}: {text} ({times} times)" for (service, text), times in self.complaints.items()
            ),
        )


totals = Totals()
