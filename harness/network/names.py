"""The names that exist in a lab, how asking for one can go wrong, and who asked, without I/O (RFC 1035).

The module is not called `dns`: a program that is started beside it would find it instead of dnspython.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dns.message
    import dns.rcode
    import dns.rdatatype
    import dns.rrset

__all__ = ["Answer", "Failure", "Forward", "Names", "Query", "Refusal", "Slow", "Wrong"]

TTL = 0
"""Nobody keeps an answer: what a test changes counts from the next query on."""
PLAIN_UDP = 512
"""Bytes of an answer over UDP to whoever does not say that it takes more (RFC 1035, 4.2.1)."""
MOST_TCP = 0xFFFF
MOST_QUERIES = 100_000
MOST_STRING = 250


class Refusal(Enum):
    """No answer that helps."""

    NXDOMAIN = "NXDOMAIN"
    SERVFAIL = "SERVFAIL"
    SILENCE = "time-out"


@dataclass(frozen=True)
class Wrong:
    """Another machine's addresses."""

    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Slow:
    """The right answer, so much later."""

    seconds: float


Failure = Refusal | Wrong | Slow


@dataclass(frozen=True)
class Query:
    """Question that somebody asked."""

    at: float
    """Seconds since 1970."""
    asker: str
    """The address that the query came from: behind a NAT, that of the NAT."""
    name: str
    """In lower case, without the last dot."""
    type: str
    """`A`, `AAAA`, ..."""
    known: bool
    """False where the lab has no such name. A program that asks for one would have gone elsewhere."""


@dataclass(frozen=True)
class Answer:
    wire: bytes
    after: float = 0.0
    """Seconds to wait with it."""


@dataclass(frozen=True)
class Forward:
    """A query for a name that the lab does not have, where there is an outside to ask."""

    name: str
    query: dns.message.Message
    udp: bool

    def answer(self, found: Sequence[str] | Refusal) -> Answer:
        """The answer, with the addresses that were found outside; IPv4 alone leads there."""
        response = _response(self.query)
        if isinstance(found, Refusal):
            response.set_rcode(_rcode(found))
        else:
            _fill(response, self.query.question[0], [each for each in found if ":" not in each])
        return Answer(_wire(self.query, response, udp=self.udp))


class Names:
    """Every name of a lab. Any thread may change or read it at any time."""

    def __init__(self, zone: Mapping[str, Sequence[str]] | None = None) -> None:
        """`zone`: IPv4 and IPv6 addresses by name."""
        self._lock = threading.Lock()
        self._zone: dict[str, tuple[str, ...]] = {}
        self._records: dict[tuple[str, str], tuple[str, ...]] = {}
        self._failures: dict[str, Failure] = {}
        self._queries: list[Query] = []
        self.unrecorded = 0
        """Queries that came when the record was full."""
        for name, addresses in (zone or {}).items():
            self.set(name, *addresses)

    def set(self, name: str, *addresses: str) -> None:
        """Let a name stand for these addresses, or for none: it exists, and queries for its addresses are empty."""
        with self._lock:
            self._zone[_canonical(name)] = addresses

    def publish(self, name: str, kind: str, *values: str) -> None:
        """Let a name have these records of another kind than addresses, such as `MX` or `TXT`, as a zone file has them;
        a text may be longer than one string of a record."""
        if kind == "TXT":
            values = tuple(_quoted(each) for each in values)
        with self._lock:
            self._records[_canonical(name), kind] = values
            self._zone.setdefault(_canonical(name), ())

    def fail(self, name: str, failure: Failure) -> None:
        """Let queries for a name, whether it exists or not, go wrong until `heal`."""
        with self._lock:
            self._failures[_canonical(name)] = failure

    def heal(self, name: str) -> None:
        with self._lock:
            self._failures.pop(_canonical(name), None)

    @property
    def queries(self) -> tuple[Query, ...]:
        """Every query so far, in order, whatever became of it."""
        with self._lock:
            return tuple(self._queries)

    def answer(self, wire: bytes, asker: str, *, udp: bool, outside: bool = False) -> Answer | Forward | None:
        """Answer a query, and record it; None for silence, also to what is no query.

        `outside`: there is somebody else to ask for names that the lab does not have.
        """
        import dns.exception  # noqa: PLC0415 - dnspython is slow to load
        import dns.flags  # noqa: PLC0415
        import dns.message  # noqa: PLC0415
        import dns.opcode  # noqa: PLC0415
        import dns.rcode  # noqa: PLC0415
        import dns.rdataclass  # noqa: PLC0415
        import dns.rdatatype  # noqa: PLC0415

        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR:
            return None
        response = _response(query)
        if (
            query.opcode() != dns.opcode.QUERY
            or len(query.question) != 1
            or query.question[0].rdclass != dns.rdataclass.IN
        ):
            response.set_rcode(dns.rcode.NOTIMP)
            return Answer(response.to_wire())
        question = query.question[0]
        name = _canonical(question.name.to_text())
        with self._lock:
            self._record(asker, name, question.rdtype)
            addresses, failure = self._zone.get(name), self._failures.get(name)
            others = self._records.get((name, dns.rdatatype.to_text(question.rdtype)), ())
        match failure:
            case Refusal.SILENCE:
                return None
            case None if addresses is None and outside:
                return Forward(name, query, udp)
            case Refusal.SERVFAIL:
                response.set_rcode(_rcode(failure))
            case Wrong(wrong):
                _fill(response, question, wrong)
            case _ if addresses is None or failure is Refusal.NXDOMAIN:
                response.set_rcode(_rcode(Refusal.NXDOMAIN))
            case _:
                _fill(response, question, addresses, others)
        after = failure.seconds if isinstance(failure, Slow) else 0.0
        return Answer(_wire(query, response, udp=udp), after)

    def _record(self, asker: str, name: str, kind: dns.rdatatype.RdataType) -> None:
        import dns.rdatatype  # noqa: PLC0415 - dnspython is slow to load

        if len(self._queries) == MOST_QUERIES:
            self.unrecorded += 1
            return
        known = name in self._zone
        self._queries.append(Query(time.time(), asker, name, dns.rdatatype.to_text(kind), known))


def _canonical(name: str) -> str:
    return name.rstrip(".").lower()


def _response(query: dns.message.Message) -> dns.message.Message:
    import dns.message  # noqa: PLC0415 - dnspython is slow to load

    return dns.message.make_response(query, recursion_available=True)


def _rcode(refusal: Refusal) -> dns.rcode.Rcode:
    import dns.rcode  # noqa: PLC0415 - dnspython is slow to load

    return dns.rcode.from_text(refusal.value)


def _wire(query: dns.message.Message, response: dns.message.Message, *, udp: bool) -> bytes:
    most = max(query.payload, PLAIN_UDP) if udp else MOST_TCP
    return response.to_wire(max_size=most, prefer_truncation=True)


def _quoted(text: str) -> str:
    """In strings of at most 255 bytes (RFC 1035, 3.3)."""
    return " ".join(f'"{text[start : start + MOST_STRING]}"' for start in range(0, len(text), MOST_STRING))


def _fill(
    response: dns.message.Message,
    question: dns.rrset.RRset,
    addresses: Sequence[str],
    others: Sequence[str] = (),
) -> None:
    """With those addresses that were asked for, or with the other records, which are of the kind that was."""
    import dns.rdataclass  # noqa: PLC0415 - dnspython is slow to load
    import dns.rdatatype  # noqa: PLC0415
    import dns.rrset  # noqa: PLC0415

    kind = question.rdtype
    fitting = [each for each in addresses if kind == (dns.rdatatype.AAAA if ":" in each else dns.rdatatype.A)]
    fitting += others
    if fitting:
        response.answer.append(dns.rrset.from_text(question.name, TTL, dns.rdataclass.IN, kind, *fitting))
