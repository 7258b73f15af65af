"""Findings of a run about its target, as sentences and lists: what is wrong, undecided, not reached and left out.

Pure functions of records; Markdown, the terminal and JUnit show the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..causes.catalogue import CATALOGUE
from .observations import AccountsLeft, MachineSeen
from .plan import checks
from .records import Record, Verdict

__all__ = ["Finding", "accounts_left", "counts", "findings", "took_part"]

LEFT_OUT = frozenset({Verdict.SKIPPED, Verdict.UNSUPPORTED})


@dataclass(frozen=True)
class Finding:
    """Something that is told once: a reason, and all checks that it is the reason for."""

    checks: tuple[str, ...]
    reason: str
    not_reached: tuple[str, ...] = ()
    """Checks that were not reached because of it."""
    cause: str = ""
    """Name of what is wrong with the deployment, as in docs/causes.md; empty: not known."""

    @property
    def to_do(self) -> tuple[str, ...]:
        """What to change, a sentence for each place."""
        known = CATALOGUE.get(self.cause)
        return tuple(known.advice()) if known else ()


def counts(records: Iterable[Record]) -> str:
    """For example `5 passed, 1 failed`; verdicts that did not occur are left out."""
    verdicts = [record.verdict for record in checks(records)]
    found = [(verdicts.count(verdict), verdict) for verdict in Verdict]
    return ", ".join(f"{number} {verdict}" for number, verdict in found if number) or "nothing ran"


def findings(records: Sequence[Record]) -> dict[str, list[Finding]]:
    """By the title of their section, in the order of what matters most; sections without any are left out."""
    ran = checks(records)
    failed = [each for each in ran if each.verdict is Verdict.FAILED]
    known = {each.check for each in failed}
    waiting = [each for each in ran if each.verdict is Verdict.NOT_REACHED]
    by_cause = {name: tuple(each.check for each in waiting if each.because_of == name) for name in known}
    found = {
        "What is wrong": [
            Finding((each.check,), each.reason, by_cause[each.check], each.cause) for each in failed
        ],
        "Undecided": [
            Finding((each.check,), each.reason) for each in ran if each.verdict is Verdict.UNDECIDED
        ],
        "Not reached": _by_reason(ran, lambda each: each in waiting and each.because_of not in known),
        "Left out": _by_reason(ran, lambda each: each.verdict in LEFT_OUT),
        "Not run": _by_reason(ran, lambda each: each.verdict is Verdict.NOT_RUN),
    }
    return {title: each for title, each in found.items() if each}


def _by_reason(records: Iterable[Record], wanted: Callable[[Record], bool]) -> list[Finding]:
    by_reason: dict[str, list[str]] = {}
    for record in filter(wanted, records):
        by_reason.setdefault(record.reason, []).append(record.check)
    return [Finding(tuple(names), reason) for reason, names in by_reason.items()]


def took_part(records: Sequence[Record]) -> list[str]:
    """Programs that took part, and the machine: sentences."""
    sentences = []
    servers = {_with_version(name, version) for each in records for name, version in each.server.items()}
    clients = {version for each in records for version in each.clients.values()}
    for what, found in (("server", servers), ("clients", clients)):
        if found:
            sentences.append(f"{what}: {', '.join(sorted(found))}")
    for machine in (machine for each in records for machine in each.seen(MachineSeen)):
        versions = [f"{name} {version}" for name, version in machine.versions.items()]
        sentences += [", ".join(versions)] if versions else []
        sentences += machine.abilities
    return list(dict.fromkeys(sentences))


def _with_version(name: str, version: str) -> str:
    """Most programs say their name with their version."""
    return version if name in version else f"{name} {version}"


def accounts_left(records: Sequence[Record]) -> str:
    """Accounts that stay on a server of somebody else, as a sentence; empty if there are none or the server is ours."""
    left = {record.target: 0 for record in records}
    for record in records:
        left[record.target] += sum(each.count for each in record.seen(AccountsLeft))
    return "; ".join(
        f"up to {count} accounts were left on {target}" for target, count in left.items() if count
    )
