"""JUnit XML out of records, for the viewers of Jenkins, GitLab and GitHub: a pure function.

They show the `message` of a failure in their list, and its body on a page of its own: the reason, what to do, what one
must know, and where the evidence lies. The form is that of Ant's and Jenkins' schemas: times of day are UTC without a
zone, and `properties` come first.
"""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from ..text import clean
from .findings import Finding, took_part
from .observations import MachineSeen, PathSeen
from .plan import checks, how_far
from .promises import PROMISES
from .records import Record, Verdict
from .sections import every_section
from .summary import summary

__all__ = ["render_junit"]

TAGS = {
    Verdict.FAILED: "failure",
    Verdict.UNDECIDED: "error",
    Verdict.SKIPPED: "skipped",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.NOT_REACHED: "skipped",
    Verdict.NOT_RUN: "error",  # viewers show a suite of passed and skipped cases in green
}


def render_junit(name: str, records: Sequence[Record]) -> str:
    """One test case per check. Those undecided or not run are errors; those left out or not reached are skipped."""
    ran = checks(records)
    tags = [TAGS.get(each.verdict) for each in ran]
    counted = {
        "name": clean(name),
        "tests": str(len(ran)),
        "failures": str(tags.count("failure")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
        "time": f"{sum(each.duration for each in ran):.3f}",
    }
    root = ET.Element("testsuites", counted)
    suite = ET.SubElement(root, "testsuite", counted)
    suite.set("timestamp", _time(min((each.time for each in records), default=0.0)))
    suite.set("hostname", clean(_hostname(records)))
    properties = ET.SubElement(suite, "properties")
    found = summary(records)
    _property(properties, found.decision, found.sentence)
    if missing := how_far(records):
        _property(properties, "no verdict", missing)
    _property(properties, "proof", found.proof)
    for sentence in took_part(records):
        _property(properties, "with", sentence)
    for record in ran:
        suite.append(_case(record))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(record: Record) -> ET.Element:
    group, _, check = clean(record.check).rpartition(".")
    case = ET.Element("testcase", classname=group or "checks", name=check, time=f"{record.duration:.3f}")
    properties = ET.SubElement(case, "properties")
    for what, text in _properties(record):
        _property(properties, what, text)
    if (tag := TAGS.get(record.verdict)) is not None:
        message = record.reason if tag != "skipped" else f"{record.verdict}: {record.reason}"
        ended = ET.SubElement(case, tag, message=clean(message), type=record.verdict.value)
        ended.text = "\n".join(clean(each) for each in _body(record, message))
    if sections := every_section([record]):
        ET.SubElement(case, "system-out").text = "\n\n".join(each.text() for each in sections)
    return case


def _properties(record: Record) -> Iterator[tuple[str, str]]:
    yield "target", record.target
    yield from (("requirement", each) for each in record.requirements)
    yield from ((f"server: {name}", version) for name, version in record.server.items())
    yield from ((f"client: {name}", program) for name, program in record.clients.items())
    yield from ((f"network: {name}", network) for name, network in record.profiles.items())
    if record.seed is not None:
        yield "seed", str(record.seed)
    for path in record.seen(PathSeen):
        yield f"path: {', '.join(filter(None, (path.subject, path.phase)))}", path.name
    yield from (("note", each) for each in record.notes)
    yield from (("evidence", each.path) for each in record.evidence)


def _body(record: Record, message: str) -> Iterator[str]:
    """Lines for whoever has this failure in front of him, and nothing else."""
    yield message
    if to_do := Finding((record.check,), record.reason, cause=record.cause).to_do:
        yield f"What to do (cause {record.cause}):"
        yield from (f"- {each}" for each in to_do)
    yield from (f"Note: {each}" for each in record.notes)
    yield from (
        f"Promise {each}: {PROMISES[each].sentence}" for each in record.requirements if each in PROMISES
    )
    yield from (f"Evidence: {each.path}" for each in record.evidence)


def _hostname(records: Sequence[Record]) -> str:
    """Machine that the checks ran on."""
    names = (machine.hostname for each in records for machine in each.seen(MachineSeen) if machine.hostname)
    return next(names, "unknown")


def _property(parent: ET.Element, name: str, value: str) -> None:
    ET.SubElement(parent, "property", name=clean(name), value=clean(value))


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
