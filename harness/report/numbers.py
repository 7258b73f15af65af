"""Paths, times, names, links, bytes and other numbers of a run as tables. Pure functions of records."""

from __future__ import annotations

import datetime
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .observations import (
    CertificateSeen,
    LinkSeen,
    Listener,
    Measured,
    NameLookup,
    Observation,
    PathSeen,
    ServerSeen,
    Timing,
    TrafficSeen,
    Unrecognised,
)
from .records import Record
from .tables import NOTHING, Section, Table, number

__all__ = ["numbers", "paths"]

Seen = TypeVar("Seen", bound=Observation)
Rows = Iterator[Sequence[str]]


def paths(records: Sequence[Record]) -> Section | None:
    """The way of the bytes, phase by phase, and who says so."""
    return _section("Paths", ["phase", "path", "witnesses"], records, PathSeen, _path)


def numbers(records: Sequence[Record]) -> list[Section]:
    """Everything that was looked up or measured, and what only another version of dc-harness understands."""
    found = [
        _section("Server", ["what", "looked up before any check"], records, ServerSeen, _server),
        _section(
            "Times",
            ["what", "times", "median", "most", "limit"],
            records,
            Timing,
            _timing,
            "times in seconds",
        ),
        _section("Names", ["name", "leads to", "s", "client has", "cause"], records, NameLookup, _lookup),
        _section(
            "Bad links",
            ["link of", "conditions", "taken up", "taken down"],
            records,
            LinkSeen,
            _link,
            "taken: packets",
        ),
        _section(
            "Bytes", ["between", "sent", "received"], records, TrafficSeen, _traffic, "behind the IP header"
        ),
        _section("Measured", ["what", "value"], records, Measured, _measured),
        _section("Seen by another version", ["kind", "fields"], records, Unrecognised, _unrecognised),
    ]
    return [each for each in found if each is not None]


NUMBERS = frozenset({"times", "median", "most", "limit", "s", "taken up", "taken down", "sent", "received"})
"""Headings of columns of numbers; times are seconds."""


def _section(
    title: str,
    headings: Sequence[str],
    records: Sequence[Record],
    kind: type[Seen],
    rows: Callable[[Seen], Rows],
    *legend: str,
) -> Section | None:
    """A table with a row or more for each observation of this kind, below the name of its check."""
    found: list[Sequence[str]] = []
    for record in records:
        if seen := record.seen(kind):
            found += [] if record.is_head else [[record.check]]
            found += [_indented(row) for each in seen for row in rows(each)]
    return Section(title, [("", Table(headings, found, NUMBERS))], legend) if found else None


def _indented(row: Sequence[str]) -> Sequence[str]:
    return [f"  {row[0]}", *row[1:]]


def _about(subject: str, what: str) -> str:
    return ", ".join(filter(None, (subject, what)))


def _server(server: ServerSeen) -> Rows:
    """A row for everything that was looked up."""
    found = {
        "server": [server.name],
        "mail domain": [server.domain],
        "addresses": server.addresses,
        "listens at": [_listener(each) for each in server.listeners if each.answers],
        "silent at": [_listener(each) for each in server.listeners if not each.answers],
        "certificates": [_certificate(each) for each in server.certificates],
        "IMAP capabilities": server.imap_capabilities,
        "METADATA": server.metadata,
        "iroh relay speaks": server.relay_generations,
        "TURN over": server.turn_transports,
        "clock": [] if server.clock_ahead_s is None else [f"{server.clock_ahead_s:+.1f} s from ours"],
        "capabilities": server.capabilities,
    }
    for what, values in found.items():
        if any(values):
            yield [what, ", ".join(values)]


def _listener(listener: Listener) -> str:
    return f"{listener.service} {listener.address} port {listener.port} ({listener.transport})"


def _certificate(certificate: CertificateSeen) -> str:
    day = datetime.datetime.fromtimestamp(certificate.expires, datetime.UTC).date()
    trusted = "" if certificate.trusted else ", not trusted"
    names = " ".join(certificate.names)
    return f"{certificate.service} ({names}, by {certificate.issuer}, until {day}{trusted})"


def _path(path: PathSeen) -> Rows:
    said = [", ".join(path.witnesses), "; ".join(path.doubts or path.contradictions)]
    yield [_about(path.subject, path.phase), path.name, ": ".join(filter(None, said)) or NOTHING]


def _timing(timing: Timing) -> Rows:
    median = statistics.median(timing.seconds) if timing.seconds else None
    most = max(timing.seconds, default=None)
    yield [
        _about(timing.subject, timing.name),
        str(len(timing.seconds)),
        *(number(each, 3) for each in (median, most, timing.most_s)),
    ]


def _lookup(lookup: NameLookup) -> Rows:
    yield [
        _about(lookup.name, lookup.case),
        ", ".join(lookup.addresses) or "nowhere",
        number(lookup.client_seconds if lookup.seconds is None else lookup.seconds, 2),
        NOTHING if lookup.used is None else ", ".join(lookup.used) or "nothing",
        lookup.cause or NOTHING,
    ]


def _link(link: LinkSeen) -> Rows:
    conditions = [
        f"{link.delay_ms:g} ms" if link.delay_ms else "",
        f"+-{link.jitter_ms:g} ms" if link.jitter_ms else "",
        f"{link.loss:.1%} lost" if link.loss else "",
        f"{link.reorder:.1%} overtake" if link.reorder else "",
        f"{link.rate_kbit} kbit/s" if link.rate_kbit else "",
        f"seed {link.seed}" if link.seed is not None else "",
    ]
    yield [
        link.subject,
        ", ".join(filter(None, conditions)) or "as it is",
        number(link.taken_up),
        number(link.taken_down),
    ]


def _traffic(traffic: TrafficSeen) -> Rows:
    about = _about(traffic.subject, traffic.phase)
    for flow in traffic.flows:
        other = f" and {flow.other}" if flow.other else ""
        family = f", {flow.family}" if flow.family else ""
        yield [
            f"{about}: {flow.device}{other}{family}",
            number(flow.sent_bytes),
            number(flow.received_bytes),
        ]


def _measured(measured: Measured) -> Rows:
    value = measured.value
    if isinstance(value, bool):
        value = "yes" if value else "no"
    shown = NOTHING if value is None else f"{value} {measured.unit}".rstrip()
    yield [_about(measured.subject, measured.name), shown]


def _unrecognised(seen: Unrecognised) -> Rows:
    fields = ", ".join(
        f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in seen.fields.items()
    )
    yield [f"{seen.of_kind or 'without a kind'}, version {seen.of_version}", fields]
