"""JUnit XML out of records: a pure function."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from .records import Record, Verdict

__all__ = ["render_junit"]


def render_junit(name: str, records: Sequence[Record]) -> str:
    """One test case per record; `unsupported` counts as skipped, with its reason."""
    by_verdict = {verdict: sum(record.verdict is verdict for record in records) for verdict in Verdict}
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(records)),
        failures=str(by_verdict[Verdict.FAILED]),
        errors=str(by_verdict[Verdict.UNDECIDED]),
        skipped=str(by_verdict[Verdict.SKIPPED] + by_verdict[Verdict.UNSUPPORTED]),
        time=f"{sum(record.duration for record in records):.3f}",
    )
    for record in records:
        suite.append(_case(record))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(record: Record) -> ET.Element:
    group, _, check = record.check.rpartition(".")
    case = ET.Element("testcase", classname=group or "checks", name=check, time=f"{record.duration:.3f}")
    properties = ET.SubElement(case, "properties")
    for requirement in record.requirements:
        ET.SubElement(properties, "property", name="requirement", value=requirement)
    for phase, path in record.paths.items():
        ET.SubElement(properties, "property", name=f"path: {phase}", value=path)
    for note in record.notes:
        ET.SubElement(properties, "property", name="note", value=_xml_text(note))
    tag = {
        Verdict.FAILED: "failure",
        Verdict.UNDECIDED: "error",
        Verdict.SKIPPED: "skipped",
        Verdict.UNSUPPORTED: "skipped",
    }.get(record.verdict)
    if tag is not None:
        ET.SubElement(case, tag, message=_xml_text(record.reason))
    return case


def _xml_text(text: str) -> str:
    """XML 1.0 has no control characters; a reason may quote what a broken server said."""
    return "".join(
        c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )
